//! N-gram language models: read from ARPA files, trained on text, stored in a form of their own.

mod arpa;
mod bits;
mod builder;
#[cfg(feature = "cli")]
mod file;
mod gram;
mod stored;
#[cfg(test)]
mod tests;
mod train;

use std::io::{BufRead, Write};
use std::ops::Deref;

use crate::error::Result;
pub use gram::LONGEST;
use stored::{Layout, Node};
pub use train::{Counts, Trained};

/// The word before a sentence.
pub const START: &str = "<s>";
/// The word that ends a sentence.
pub const END: &str = "</s>";
/// The unknown word.
pub const UNKNOWN: &str = "<unk>";

/// Whether a word is the unknown word, in any case.
fn is_unknown(word: &str) -> bool {
    word.eq_ignore_ascii_case(UNKNOWN)
}

/// An n-gram language model with back-off.
///
/// Memory is that of the stored form, on which all look-ups work as it lies; a file is mapped, not read.
#[derive(Debug)]
pub struct LanguageModel {
    bytes: Bytes,
    layout: Layout,
    unknown: u32,
    start: u32,
    end: u32,
}

/// The state of a language model, the words before: up to order − 1 of them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct State {
    /// The last word first.
    words: [u32; LONGEST - 1],
    /// Backoff of the last word, of the last two, …; log10.
    backoffs: [f32; LONGEST - 1],
    length: u8,
}

impl State {
    /// Nothing before, not even the beginning of a sentence.
    pub fn nothing() -> Self {
        Self { words: [0; LONGEST - 1], backoffs: [0.0; LONGEST - 1], length: 0 }
    }
}

/// Where the stored form lies.
#[derive(Debug)]
enum Bytes {
    Held(Vec<u8>),
    #[cfg(feature = "cli")]
    Mapped(memmap2::Mmap),
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Held(bytes) => bytes,
            #[cfg(feature = "cli")]
            Self::Mapped(map) => map,
        }
    }
}

impl LanguageModel {
    /// Takes a model in the stored form.
    ///
    /// # Errors
    /// When it is cut short or damaged.
    pub fn parse(bytes: Vec<u8>) -> Result<Self> {
        Self::of(Bytes::Held(bytes))
    }

    /// Reads a model in the ARPA form, as a stream.
    ///
    /// # Errors
    /// Names the line, as `name:line`, that is malformed; what cannot be read.
    pub fn read_arpa(source: impl BufRead, name: &str) -> Result<Self> {
        Self::parse(arpa::read(source, name)?)
    }

    fn of(bytes: Bytes) -> Result<Self> {
        let layout = stored::read(&bytes)?;
        layout.verify(&bytes, false)?;
        let id = |word| {
            layout.id(&bytes, word).ok_or_else(|| stored::damaged(&format!("the word {word} is missing")))
        };
        let (unknown, start, end) = (id(UNKNOWN)?, id(START)?, id(END)?);
        Ok(Self { bytes, layout, unknown, start, end })
    }

    /// Checks every byte, also of models so large that opening them does not, and that each n-gram is reached once.
    ///
    /// # Errors
    /// Names the order whose n-grams have changed since they were written, or are out of order.
    pub fn verify(&self) -> Result<()> {
        self.layout.verify(&self.bytes, true)
    }

    /// Words of the longest n-grams.
    pub fn order(&self) -> usize {
        self.layout.levels.len() + 1
    }

    /// Number of words, of 2-grams, of 3-grams, …; those of words with `<s>`, `</s>` and `<unk>`.
    pub fn counts(&self) -> Vec<u64> {
        let longer = self.layout.levels.iter().map(|level| level.count);
        [self.layout.count() as u64].into_iter().chain(longer).collect()
    }

    /// The stored form.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The words with their ids, in the order of the ids, without `<s>`, `</s>` and `<unk>`.
    pub fn words(&self) -> impl Iterator<Item = (u32, &str)> {
        let all = (0..self.layout.count() as u32).map(|id| (id, self.layout.word(&self.bytes, id)));
        all.filter(|&(id, _)| ![self.unknown, self.start, self.end].contains(&id))
    }

    /// The id of a word.
    pub fn id(&self, word: &str) -> Option<u32> {
        self.layout.id(&self.bytes, word)
    }

    /// The id of the unknown word.
    pub fn unknown(&self) -> u32 {
        self.unknown
    }

    /// The id of the end of a sentence.
    pub fn end(&self) -> u32 {
        self.end
    }

    /// The beginning of a sentence.
    pub fn beginning(&self) -> State {
        self.score(&State::nothing(), self.start).1
    }

    /// Log10 probability of a word after `state`, and the state behind it.
    pub fn score(&self, state: &State, word: u32) -> (f64, State) {
        let (file, layout) = (&*self.bytes, &self.layout);
        let mut next = State::nothing();
        let kept = layout.levels.len();
        let mut remember = |place: usize, word: u32, node: Option<&Node>| {
            if place < kept {
                next.words[place] = word;
                next.backoffs[place] = node.map_or(0.0, |node| node.backoff as f32);
                next.length = place as u8 + 1;
            }
        };
        let mut node = layout.unigram(file, word);
        remember(0, word, Some(&node));
        let mut probability = node.probability;
        let mut seen = 0;
        let history = &state.words[..usize::from(state.length)];
        for (place, &before) in history.iter().enumerate() {
            if seen == place
                && let Some(longer) = layout.find(file, place, node.longer, before)
            {
                node = longer;
                probability = node.probability;
                seen = place + 1;
                remember(place + 1, before, Some(&node));
            } else {
                remember(place + 1, before, None);
            }
        }
        probability += state.backoffs[seen..history.len()].iter().map(|&b| f64::from(b)).sum::<f64>();
        (probability, next)
    }

    /// Writes the model in the ARPA form. Of a file that somebody made, [`LanguageModel::verify`] tells first whether each
    /// n-gram is there once.
    ///
    /// # Errors
    /// When `out` cannot be written.
    pub fn write_arpa(&self, out: &mut impl Write) -> std::io::Result<()> {
        arpa::write(self, out)
    }
}
