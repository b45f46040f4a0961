//! From log-probabilities to text: greedy, or beam search with language models and hot words.
//!
//! It works on the CPU, on log-probabilities from any source. Threads, files and mapping need the feature `cli`; the rest also
//! serves the browser.

mod align;
mod alphabet;
mod beam;
mod emissions;
#[cfg(test)]
mod golden_tests;
mod greedy;
mod hash;
mod hot_words;
mod hypothesis;
mod lexicon;
pub mod lm;
mod settings;

use std::sync::Arc;

use crate::error::Result;
use crate::text::Vocabulary;
pub use align::{Alignment, align};
pub use alphabet::Alphabet;
pub use beam::{BeamSearch, Search};
pub use emissions::Emissions;
pub use greedy::BestPath;
pub use hot_words::HotWords;
pub use hypothesis::{Hypothesis, HypothesisWord};
use lm::LanguageModel;
pub use settings::{Kind, Settings};

/// A decoder, whichever it is; it may be shared by threads.
#[derive(Debug)]
#[non_exhaustive]
pub enum Decoder {
    /// The most probable token of each frame.
    Greedy(Alphabet),
    /// The best of many texts.
    Beam(Box<BeamSearch>),
}

/// The resources of a decoder besides its settings.
#[derive(Debug, Default)]
pub struct Resources {
    /// The language model.
    pub lm: Option<Arc<LanguageModel>>,
    /// The words that count as known; by default those of the language model, without which they change nothing.
    pub known: Option<Vec<String>>,
    /// The words to be preferred.
    pub hot_words: HotWords,
}

/// A decoder on an utterance that is still coming in.
#[derive(Debug)]
pub enum Running {
    /// The most probable token of each frame.
    Greedy(Box<BestPath>),
    /// The best of many texts.
    Beam(Box<Search>),
}

impl Running {
    /// Takes the next frames.
    pub fn push(&mut self, emissions: &Emissions) {
        match self {
            Self::Greedy(path) => emissions.frames().for_each(|frame| path.push(frame)),
            Self::Beam(search) => emissions.frames().for_each(|frame| search.push(frame)),
        }
    }

    /// The best text so far, with the word that is begun.
    pub fn hypothesis(&self) -> Hypothesis {
        match self {
            Self::Greedy(path) => path.hypothesis(),
            Self::Beam(search) => search.hypothesis(),
        }
    }

    /// Number of words of [`Running::hypothesis`], from the first on, that stay whatever follows.
    pub fn settled(&self) -> usize {
        match self {
            Self::Greedy(path) => path.settled(),
            Self::Beam(search) => search.settled(),
        }
    }

    /// The best texts, at most `count`, the best one first; greedy decoding finds one.
    pub fn finish(self, count: usize) -> Vec<Hypothesis> {
        match self {
            Self::Greedy(path) => vec![path.hypothesis()],
            Self::Beam(search) => search.finish(count),
        }
    }
}

impl Decoder {
    /// Greedy decoding of a model's tokens.
    ///
    /// # Errors
    /// When they are no alphabet.
    pub fn greedy(vocabulary: &Vocabulary) -> Result<Self> {
        Ok(Self::Greedy(Alphabet::of(vocabulary)?))
    }

    /// The decoder that `settings` ask for. Of `resources`, greedy decoding reads none.
    ///
    /// # Errors
    /// When a setting is out of range, or the language model has no word.
    pub fn new(alphabet: Alphabet, settings: Settings, resources: &Resources) -> Result<Self> {
        let Resources { lm, known, hot_words } = resources;
        Ok(match settings.decoder {
            Kind::Greedy => Self::Greedy(alphabet),
            Kind::Beam => {
                let search = BeamSearch::new(alphabet, settings, lm.clone(), known.as_deref(), hot_words)?;
                Self::Beam(Box::new(search))
            }
        })
    }

    /// Which one it is.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Greedy(_) => Kind::Greedy,
            Self::Beam(_) => Kind::Beam,
        }
    }

    /// The tokens that it reads.
    pub fn alphabet(&self) -> &Alphabet {
        match self {
            Self::Greedy(alphabet) => alphabet,
            Self::Beam(search) => search.alphabet(),
        }
    }

    /// The log-probability from which on it looks at tokens; without one it looks at the best of each frame alone.
    pub fn token_prune(&self) -> Option<f64> {
        match self {
            Self::Greedy(_) => None,
            Self::Beam(search) => Some(search.token_prune()),
        }
    }

    /// Begins an utterance that is still coming in.
    pub fn begin(&self) -> Running {
        match self {
            Self::Greedy(alphabet) => Running::Greedy(Box::new(BestPath::new(alphabet))),
            Self::Beam(search) => Running::Beam(Box::new(search.begin())),
        }
    }

    /// The best texts of an utterance, at most `count`, the best one first; greedy decoding finds one.
    pub fn decode(&self, emissions: &Emissions, count: usize) -> Vec<Hypothesis> {
        match self {
            Self::Greedy(alphabet) => vec![greedy::greedy(alphabet, emissions)],
            Self::Beam(search) => search.decode(emissions, count),
        }
    }
}
