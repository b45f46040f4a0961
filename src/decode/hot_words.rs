//! Words that are to be preferred.

use std::collections::BTreeMap;

use super::alphabet::Case;
use super::lexicon::{Found, Lexicon};
use crate::error::{Error, Result};

/// Words with a weight each that is added to the score of a text that holds them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct HotWords(BTreeMap<String, f64>);

impl HotWords {
    /// Reads a list, a word or phrase a line, with a weight of its own behind it if its last field is a number; the words
    /// of a phrase count one by one. Of a word that is there twice, the larger weight holds.
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
            for field in fields {
                let known = words.entry(field.to_owned()).or_insert(own);
                *known = known.max(own);
            }
        }
        Ok(Self(words))
    }

    /// Whether there is no word.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Hot words as the search looks them up.
#[derive(Debug, Default)]
pub(super) struct HotLexicon {
    pub words: Lexicon,
    weights: Vec<f64>,
}

impl HotLexicon {
    pub fn new(hot: &HotWords, case: Case) -> Self {
        let words = hot.0.keys().zip(0..).map(|(word, number)| (case.fold(word), number));
        Self { words: Lexicon::new(words), weights: hot.0.values().copied().collect() }
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
