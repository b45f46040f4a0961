//! Sorted words, for look-up letter by letter.

use std::ops::Range;

/// Words in the order of their bytes, each with a number.
#[derive(Debug, Clone, Default)]
pub(super) struct Lexicon {
    text: String,
    ends: Vec<usize>,
    numbers: Vec<u32>,
}

/// The words that begin with the letters so far.
pub(super) type Found = Range<u32>;

impl Lexicon {
    /// Of words with numbers. Of words that are the same, the first stays.
    pub fn new(words: impl IntoIterator<Item = (String, u32)>) -> Self {
        let mut words: Vec<(String, u32)> = words.into_iter().filter(|(word, _)| !word.is_empty()).collect();
        words.sort_by(|a, b| a.0.cmp(&b.0));
        words.dedup_by(|later, first| later.0 == first.0);
        let mut lexicon = Self::default();
        for (word, number) in words {
            lexicon.text.push_str(&word);
            lexicon.ends.push(lexicon.text.len());
            lexicon.numbers.push(number);
        }
        lexicon
    }

    /// Number of words.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// All words.
    pub fn all(&self) -> Found {
        0..self.len() as u32
    }

    fn word(&self, index: u32) -> &[u8] {
        let index = index as usize;
        let begin = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.text.as_bytes()[begin..self.ends[index]]
    }

    /// Of the words `found`, which share `shared` bytes, those that go on with `letters`.
    pub fn narrow(&self, found: Found, shared: usize, letters: &str) -> Found {
        let letters = letters.as_bytes();
        let begin = partition(found.clone(), |index| &self.word(index)[shared..] < letters);
        let end = partition(begin..found.end, |index| self.word(index)[shared..].starts_with(letters));
        begin..end
    }

    /// The number of the word that has `length` bytes, all of which `found` share.
    pub fn exact(&self, found: &Found, length: usize) -> Option<u32> {
        // The shortest of words with the same beginning comes first.
        let first = (!found.is_empty()).then_some(found.start)?;
        (self.word(first).len() == length).then(|| self.numbers[first as usize])
    }

    /// The words `found`: letters and numbers.
    pub fn words(&self, found: Found) -> impl Iterator<Item = (&str, u32)> {
        found.map(|index| {
            (std::str::from_utf8(self.word(index)).unwrap_or_default(), self.numbers[index as usize])
        })
    }
}

/// The first index of `range` that does not hold, where those that hold come first.
fn partition(range: Range<u32>, holds: impl Fn(u32) -> bool) -> u32 {
    let Range { start: mut low, end: mut high } = range;
    while low < high {
        let middle = low + (high - low) / 2;
        if holds(middle) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_found_letter_by_letter() {
        let words = ["the", "there", "", "then", "a", "über", "the"];
        let lexicon = Lexicon::new(words.iter().zip(0..).map(|(word, number)| (word.to_string(), number)));
        assert_eq!(lexicon.len(), 5);
        let the = lexicon.narrow(lexicon.narrow(lexicon.all(), 0, "t"), 1, "he");
        assert_eq!((the.len(), lexicon.exact(&the, 3)), (3, Some(0)));
        let then = lexicon.narrow(the.clone(), 3, "n");
        assert_eq!((lexicon.exact(&then, 4), lexicon.exact(&then, 5)), (Some(3), None));
        assert!(lexicon.narrow(the, 3, "x").is_empty());
        let umlaut = lexicon.narrow(lexicon.all(), 0, "ü");
        assert_eq!(lexicon.words(umlaut).collect::<Vec<_>>(), [("über", 5)]);
        assert!(lexicon.narrow(lexicon.all(), 0, "z").is_empty());
    }
}
