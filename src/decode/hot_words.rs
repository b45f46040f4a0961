//! Hot words: words with a bonus.

use std::collections::BTreeMap;

use super::alphabet::Case;
use super::lexicon::{Found, Lexicon};
use crate::error::{Error, Result};

/// Words with a weight each that is added to the score of a text that holds them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct HotWords(BTreeMap<String, f64>);

impl HotWords {
    /// Reads a list, a word or phrase a line, with a weight of its own behind it if its last field is a number; the words
    /// of a phrase count one by one. Of a word that is there twice, or in large and small letters where the vocabulary has
    /// one case, the larger weight holds.
    ///
    /// # Errors
    /// Names the line whose weight is out of range.
    pub fn parse(text: &str, weight: f64) -> Result<Self> {
        let mut words = BTreeMap::new();
        for (line, number) in text.lines().zip(1..) {
            let mut fields: Vec<&str> = line.split_whitespace().collect();
            let own = match fields.last().and_then(|field| field.parse::<f64>().ok()) {
                Some(own) if fields.len() > 1 => {
                    fields.pop();
                    own
                }
                _ => weight,
            };
            if !(-1e3..=1e3).contains(&own) {
                let message =
                    format!("line {number}: the weight {own} is not from -1000 to 1000; give another");
                return Err(Error::invalid(message));
            }
            fields.into_iter().for_each(|field| keep(&mut words, field.to_owned(), own));
        }
        Ok(Self(words))
    }

    /// Whether there is no word.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Adds a word, whose weight is the larger one where it is there already.
fn keep(words: &mut BTreeMap<String, f64>, word: String, weight: f64) {
    let known = words.entry(word).or_insert(weight);
    *known = known.max(weight);
}

/// Hot words as the search looks them up.
#[derive(Debug, Default)]
pub(super) struct HotLexicon {
    pub words: Lexicon,
    weights: Vec<f64>,
}

impl HotLexicon {
    pub fn new(hot: &HotWords, case: Case) -> Self {
        let mut folded = BTreeMap::new();
        hot.0.iter().for_each(|(word, &weight)| keep(&mut folded, case.fold(word), weight));
        let weights = folded.values().copied().collect();
        Self { words: Lexicon::new(folded.into_keys().zip(0..)), weights }
    }

    /// The weight of the word that has `length` bytes, all of which `found` share.
    pub fn whole(&self, found: &Found, length: usize) -> f64 {
        self.words.exact(found, length).map_or(0.0, |number| self.weights[number as usize])
    }

    /// The share of the weight of the shortest of the words `found` that `letters` letters of it have.
    pub fn begun(&self, found: &Found, letters: usize) -> f64 {
        let lengths = self.words.words(found.clone()).map(|(word, number)| (word.chars().count(), number));
        let shortest = lengths.min_by_key(|&(length, _)| length);
        shortest
            .map_or(0.0, |(length, number)| self.weights[number as usize] * letters as f64 / length as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_have_weights_and_phrases() {
        let hot = HotWords::parse("polymix\n\nnew york\t5\nconformer 2.5\r\nnew jersey\n7\n", 10.0).unwrap();
        let expected = [
            ("7", 10.0),
            ("conformer", 2.5),
            ("jersey", 10.0),
            ("new", 10.0),
            ("polymix", 10.0),
            ("york", 5.0),
        ];
        assert_eq!(hot.0, expected.map(|(word, weight)| (word.to_owned(), weight)).into());
        let message = HotWords::parse("a\nb 1e9", 10.0).unwrap_err().to_string();
        assert!(message.contains("line 2"), "{message}");
        assert!(HotWords::parse("a nan", 1.0).is_err());
    }

    #[test]
    fn of_words_that_fold_to_one_the_larger_weight_holds() {
        for list in ["Paris 3\nPARIS 8\nparis 5", "paris 3\nParis 5\nPARIS 8", "PARIS 3\nparis 8\nParis 5"] {
            let weight = |case: Case, word: &str| {
                let hot = HotLexicon::new(&HotWords::parse(list, 10.0).unwrap(), case);
                let found = hot.words.narrow(hot.words.all(), 0, word);
                hot.whole(&found, word.len())
            };
            assert_eq!((weight(Case::Lower, "paris"), weight(Case::Upper, "PARIS")), (8.0, 8.0), "{list}");
            let own: Vec<f64> = ["PARIS", "Paris", "paris"].map(|word| weight(Case::Mixed, word)).into();
            assert!(own.contains(&3.0) && own.contains(&5.0) && own.contains(&8.0), "{list}: {own:?}");
        }
    }

    #[test]
    fn a_begun_word_has_its_share() {
        let hot = HotLexicon::new(&HotWords::parse("NEW\nNEWER 5\nNets 8", 10.0).unwrap(), Case::Lower);
        let ne = hot.words.narrow(hot.words.all(), 0, "ne");
        assert!((hot.begun(&ne, 2) - 20.0 / 3.0).abs() < 1e-12);
        assert_eq!((hot.whole(&ne, 2), hot.begun(&ne, 2) > 0.0), (0.0, true));
        let newe = hot.words.narrow(ne, 2, "we");
        assert_eq!((hot.begun(&newe, 4), hot.whole(&newe, 4)), (4.0, 0.0));
        let newer = hot.words.narrow(newe, 4, "r");
        assert_eq!(hot.whole(&newer, 5), 5.0);
    }
}
