//! Characters of texts that are not in the vocabulary.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::{Vocabulary, normalize};

/// The characters of texts that a vocabulary lacks, whatever their case.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Outside {
    /// Texts that hold any.
    pub utterances: usize,
    /// How often each of them occurs, in the form of [`normalize`].
    pub characters: BTreeMap<char, usize>,
}

impl Outside {
    /// Counts the characters of `texts` that `vocabulary` lacks.
    pub fn of<S: AsRef<str>>(vocabulary: &Vocabulary, texts: impl IntoIterator<Item = S>) -> Self {
        // What recognition writes is compared in lower case, so the case of the tokens is no difference.
        let mut lower = BTreeSet::new();
        let tokens = (0..vocabulary.len() as u32).filter(|&id| id != Vocabulary::BLANK);
        for token in tokens.filter_map(|id| vocabulary.token(id)) {
            lower.extend(token.chars().flat_map(char::to_lowercase));
        }
        let mut outside = Self::default();
        for text in texts {
            let mut any = false;
            for character in normalize(text.as_ref()).chars() {
                if !lower.contains(&character) && !vocabulary.writes(character) {
                    *outside.characters.entry(character).or_default() += 1;
                    any = true;
                }
            }
            outside.utterances += usize::from(any);
        }
        outside
    }

    /// The text without these characters. Spaces stay, since words lie between them.
    pub fn strip(&self, text: &str) -> String {
        let keep = |character: &char| character.is_whitespace() || !self.characters.contains_key(character);
        normalize(&normalize(text).chars().filter(keep).collect::<String>())
    }

    /// The characters in words, the most frequent first.
    pub fn describe(&self) -> String {
        const MOST: usize = 12;
        let mut counts: Vec<(char, usize)> = self.characters.iter().map(|(&c, &n)| (c, n)).collect();
        counts.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
        let shown = counts.iter().take(MOST).map(|(character, count)| {
            let times = if *count == 1 { "once".to_owned() } else { format!("{count} times") };
            format!("{character:?} {times}")
        });
        let mut text = shown.collect::<Vec<_>>().join(", ");
        if counts.len() > MOST {
            text.push_str(&format!(" and {} others", counts.len() - MOST));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_are_counted_and_left_out() {
        let texts = ["It's two.", "Two, three: caf\u{e9}.", "one"];
        let outside = Outside::of(&Vocabulary::english(), texts);
        assert_eq!(outside.utterances, 2);
        let counts: Vec<_> = outside.characters.iter().map(|(&c, &n)| (c, n)).collect();
        assert_eq!(counts, [(',', 1), ('.', 2), (':', 1), ('\u{e9}', 1)]);
        assert_eq!(outside.strip(texts[0]), "it's two");
        assert_eq!(outside.strip(texts[1]), "two three caf");
        assert_eq!(outside.strip(" . one"), "one");
        assert!(outside.describe().starts_with("'.' 2 times, ',' once"), "{}", outside.describe());
    }

    #[test]
    fn case_is_no_difference_and_spaces_stay() {
        let upper = Vocabulary::from_json(r#"["<blank>", "A", "B"]"#).unwrap();
        let outside = Outside::of(&upper, ["ab BA", "Ab"]);
        assert_eq!((outside.utterances, outside.characters.get(&' ')), (1, Some(&1)));
        assert_eq!(outside.strip("ab BA"), "ab ba");
    }
}
