//! From n-grams in any order to the stored tree.

use std::collections::HashMap;

use super::gram::{Gram, Key, Keys, LONGEST};
use super::stored::{self, Unigram};
use super::{END, START, UNKNOWN};
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

/// An n-gram that is there twice.
#[derive(Debug)]
pub(super) struct Twice(pub Vec<String>);

impl Builder {
    /// A model of n-grams up to `order`, with its words and their (probability, backoff), log10.
    ///
    /// # Errors
    /// When words are there twice, `<s>` or `</s>` is missing, or there are too many for the order.
    pub fn new(order: usize, mut unigrams: Vec<(String, f32, f32)>) -> Result<Self> {
        if !(1..=LONGEST).contains(&order) {
            let message = format!("the model has order {order}; language models have order 1 to {LONGEST}");
            return Err(Error::invalid(message));
        }
        if !unigrams.iter().any(|(word, ..)| word == UNKNOWN) {
            unigrams.push((UNKNOWN.to_owned(), NO_UNKNOWN, 0.0));
        }
        unigrams.sort_by(|a, b| a.0.cmp(&b.0));
        if let Some(pair) = unigrams.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            return Err(Error::invalid(format!("the word {:?} is there twice; remove one", pair[0].0)));
        }
        for mark in [START, END] {
            if !unigrams.iter().any(|(word, ..)| word == mark) {
                let message = format!("the word {mark} is missing among the 1-grams; make the model with it");
                return Err(Error::invalid(message));
            }
        }
        let keys = Keys::new(unigrams.len(), order).ok_or_else(|| {
            Error::invalid(format!(
                "{} words are too many for order {order}; take a lower one",
                unigrams.len()
            ))
        })?;
        let mut builder =
            Self { words: Vec::new(), ids: HashMap::new(), unigrams: Vec::new(), keys, grams: Vec::new() };
        builder.grams.resize_with(order - 1, Vec::new);
        for ((word, probability, backoff), id) in unigrams.into_iter().zip(0..) {
            builder.ids.insert(word.clone(), id);
            builder.words.push(word);
            builder.unigrams.push(Unigram { probability, backoff });
        }
        Ok(builder)
    }

    /// The id of a word.
    pub fn id(&self, word: &str) -> Option<u32> {
        self.ids.get(word).copied()
    }

    /// Adds an n-gram of two words or more.
    pub fn push(&mut self, words: &[u32], probability: f32, backoff: f32) {
        let key = self.keys.of(words);
        self.grams[words.len() - 2].push(Gram { key, probability, backoff });
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
                return Err(Twice(words.iter().map(spell).collect()));
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
                let blank = |key| Gram { key, probability: f32::NAN, backoff: 0.0 };
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
                    self.grams[order - 2][place].probability = probability;
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
