//! From n-grams in any order to the stored tree.

use std::collections::HashMap;

use super::gram::{Gram, Key, Keys, LONGEST};
use super::stored::{self, Unigram};
use super::{END, START, UNKNOWN, is_unknown};
use crate::error::{Error, Result};

/// The lowest log10 probability: what ARPA files write for 0.
pub(super) const LOWEST: f32 = -99.0;
/// Probability of an unknown word where the model has none, log10.
const NO_UNKNOWN: f32 = -100.0;

/// Collects the n-grams of a model.
#[derive(Debug)]
pub(super) struct Builder {
    words: Vec<String>,
    ids: HashMap<String, u32>,
    unigrams: Vec<Unigram>,
    keys: Keys,
    /// Of 2 words, of 3, …
    grams: Vec<Vec<Gram>>,
}

/// A word with its numbers, log10.
#[derive(Debug)]
pub(super) struct Word {
    pub text: String,
    pub probability: f32,
    pub backoff: f32,
    /// Where it was read; 0 where it was not.
    pub line: u32,
}

/// An n-gram that is there twice, and where for the second time.
#[derive(Debug)]
pub(super) struct Twice {
    pub words: Vec<String>,
    pub line: u32,
}

impl Builder {
    /// A model of n-grams up to `order` with these words.
    ///
    /// # Errors
    /// When `<s>` or `</s>` is missing, or there are too many words for the order; a word that is there twice, with its
    /// line.
    pub fn new(order: usize, mut words: Vec<Word>) -> Result<Self, (Error, Option<u32>)> {
        let whole = |message: String| (Error::invalid(message), None);
        if !(1..=LONGEST).contains(&order) {
            let message = format!("the model has order {order}; language models have order 1 to {LONGEST}");
            return Err(whole(message));
        }
        words
            .iter_mut()
            .filter(|word| is_unknown(&word.text))
            .for_each(|word| word.text = UNKNOWN.to_owned());
        if !words.iter().any(|word| word.text == UNKNOWN) {
            let text = UNKNOWN.to_owned();
            words.push(Word { text, probability: NO_UNKNOWN, backoff: 0.0, line: 0 });
        }
        words.sort_by(|a, b| a.text.cmp(&b.text));
        if let Some(pair) = words.windows(2).find(|pair| pair[0].text == pair[1].text) {
            let message = format!("the word {:?} is there twice; remove one", pair[0].text);
            return Err((Error::invalid(message), Some(pair[1].line)));
        }
        for mark in [START, END] {
            if !words.iter().any(|word| word.text == mark) {
                let message = format!("the word {mark} is missing among the 1-grams; make the model with it");
                return Err(whole(message));
            }
        }
        let keys = Keys::new(words.len(), order).ok_or_else(|| {
            whole(format!("{} words are too many for order {order}; take a lower one", words.len()))
        })?;
        let ids = words.iter().zip(0..).map(|(word, id)| (word.text.clone(), id)).collect();
        let numbers = |word: &Word| Unigram { probability: word.probability, backoff: word.backoff };
        let unigrams = words.iter().map(numbers).collect();
        let words = words.into_iter().map(|word| word.text).collect();
        Ok(Self { words, ids, unigrams, keys, grams: vec![Vec::new(); order - 1] })
    }

    /// The id of a word.
    pub fn id(&self, word: &str) -> Option<u32> {
        self.ids.get(if is_unknown(word) { UNKNOWN } else { word }).copied()
    }

    /// Adds an n-gram of two words or more, which was read at `line`.
    pub fn push(&mut self, words: &[u32], probability: f32, backoff: f32, line: u32) {
        let key = self.keys.of(words);
        self.grams[words.len() - 2].push(Gram { key, probability, backoff, line });
    }

    /// The stored form.
    ///
    /// # Errors
    /// The n-gram that is there twice.
    pub fn finish(mut self) -> Result<Vec<u8>, Twice> {
        self.ids = HashMap::new();
        for (grams, order) in self.grams.iter_mut().zip(2..) {
            grams.sort_unstable_by_key(|gram| gram.key);
            if let Some(pair) = grams.windows(2).find(|pair| pair[0].key == pair[1].key) {
                let words = self.keys.words(pair[0].key, order);
                let spell = |&word: &u32| self.words[word as usize].clone();
                let line = pair[0].line.max(pair[1].line);
                return Err(Twice { words: words.iter().map(spell).collect(), line });
            }
        }
        self.add_suffixes();
        Ok(stored::write(&self.words, &self.unigrams, &self.grams, self.keys))
    }

    /// Adds the n-grams without which a longer one would not be found, with the probability that backing off gives.
    fn add_suffixes(&mut self) {
        for order in (3..=self.grams.len() + 1).rev() {
            let (shorter, longer) = self.grams.split_at_mut(order - 2);
            let shorter = &mut shorter[order - 3];
            let mut missing: Vec<Key> = Vec::new();
            let mut known = shorter.iter().map(|gram| gram.key).peekable();
            for gram in &longer[0] {
                let suffix = self.keys.suffix(gram.key, order - 1);
                while known.next_if(|&key| key < suffix).is_some() {}
                if known.peek() != Some(&suffix) && missing.last() != Some(&suffix) {
                    missing.push(suffix);
                }
            }
            if !missing.is_empty() {
                let blank = |key| Gram { key, probability: f32::NAN, backoff: 0.0, line: 0 };
                shorter.extend(missing.into_iter().map(blank));
                shorter.sort_by_key(|gram| gram.key);
            }
        }
        for order in 2..=self.grams.len() + 1 {
            for place in 0..self.grams[order - 2].len() {
                let gram = self.grams[order - 2][place];
                if gram.probability.is_nan() {
                    let backoff = self.find(self.keys.context(gram.key), order - 1).map_or(0.0, |(_, b)| b);
                    let suffix = self.find(self.keys.suffix(gram.key, order - 1), order - 1);
                    let probability = suffix.map_or(LOWEST, |(p, _)| p) + backoff;
                    self.grams[order - 2][place].probability = probability.min(0.0);
                }
            }
        }
    }

    /// Probability and backoff of an n-gram of `order` words.
    fn find(&self, key: Key, order: usize) -> Option<(f32, f32)> {
        if order == 1 {
            let unigram = self.unigrams[self.keys.word(key, 0) as usize];
            return Some((unigram.probability, unigram.backoff));
        }
        let grams = &self.grams[order - 2];
        let place = grams.binary_search_by(|gram| gram.key.cmp(&key)).ok()?;
        Some((grams[place].probability, grams[place].backoff))
    }
}
