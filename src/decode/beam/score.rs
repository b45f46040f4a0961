//! What language model, known words and hot words add to a text's score.

use std::f64::consts::LN_10;
use std::sync::Arc;

use super::texts::Part;
use crate::decode::alphabet::Alphabet;
use crate::decode::hot_words::{HotLexicon, HotWords};
use crate::decode::lexicon::{Found, Lexicon};
use crate::decode::lm::{LanguageModel, State};
use crate::decode::settings::Settings;
use crate::error::{Error, Result};

/// Letters from which on a word that is not known costs more with each letter.
const USUAL_LENGTH: usize = 6;

/// Scores words.
#[derive(Debug)]
pub(super) struct Scoring {
    pub alphabet: Alphabet,
    pub settings: Settings,
    model: Option<Modelled>,
    hot: HotLexicon,
}

/// A language model with its words as the vocabulary writes them.
#[derive(Debug)]
struct Modelled {
    model: Arc<LanguageModel>,
    words: Lexicon,
    /// The known words, where they are not all words of the model.
    known: Option<Lexicon>,
}

impl Scoring {
    pub fn new(
        alphabet: Alphabet,
        settings: Settings,
        model: Option<Arc<LanguageModel>>,
        known: Option<&[String]>,
        hot: &HotWords,
    ) -> Result<Self> {
        let case = alphabet.case();
        let modelled = |model: Arc<LanguageModel>| {
            // A word that is written so already goes before others that are folded to it.
            let (as_is, folded): (Vec<_>, Vec<_>) = model
                .words()
                .map(|(id, word)| (case.fold(word), id, word))
                .partition(|(folded, _, word)| folded == word);
            let words = as_is.into_iter().chain(folded).map(|(folded, id, _)| (folded, id));
            let words = Lexicon::new(words);
            if words.len() == 0 {
                return Err(Error::invalid("the language model has no word; give another"));
            }
            let is_modelled = |word: &String| {
                let found = words.narrow(words.all(), 0, word);
                words.exact(&found, word.len()).is_some()
            };
            let known = known.map(|known| {
                let known = known.iter().map(|word| case.fold(word)).filter(is_modelled);
                Lexicon::new(known.map(|word| (word, 0)))
            });
            Ok(Modelled { words, known, model })
        };
        let model = model.map(modelled).transpose()?;
        let hot = HotLexicon::new(hot, case);
        Ok(Self { alphabet, settings, model, hot })
    }

    /// Words that two texts must share at their ends for the language model not to tell them apart.
    pub fn history(&self) -> usize {
        self.model.as_ref().map_or(1, |modelled| (modelled.model.order() - 1).max(1))
    }

    pub fn beginning(&self) -> State {
        match &self.model {
            Some(modelled) if self.settings.score_boundary => modelled.model.beginning(),
            _ => State::nothing(),
        }
    }

    /// What a token adds to a word.
    pub fn letters(&self, token: u32) -> &str {
        &self.alphabet.token(token).text
    }

    /// The beginning of a word, `letters`: that of `before`, with its number of bytes, and some more.
    pub fn part(&self, letters: &str, before: Option<(&Part, usize, &str)>) -> Part {
        let narrow = |lexicon: &Lexicon, found: fn(&Part) -> &Found| match before {
            Some((part, shared, more)) => lexicon.narrow(found(part).clone(), shared, more),
            None => lexicon.all(),
        };
        let length = letters.chars().count();
        let hot = narrow(&self.hot.words, |part| &part.hot);
        let (mut modelled, mut known) = (0..0, 0..0);
        if let Some(model) = &self.model {
            modelled = narrow(&model.words, |part| &part.modelled);
            known = model.known.as_ref().map_or(modelled.clone(), |known| narrow(known, |part| &part.known));
        }
        let begun = if letters.is_empty() {
            0.0
        } else if !hot.is_empty() {
            self.hot.begun(&hot, length)
        } else if self.model.is_some() && known.is_empty() {
            self.settings.unknown * (length.max(USUAL_LENGTH) as f64 / USUAL_LENGTH as f64)
        } else {
            0.0
        };
        Part { letters: 0..0, modelled, known, hot, begun }
    }

    /// The score of a word of `length` bytes after `state`, and the state behind it; 0 without a language model.
    pub fn word(&self, state: &State, word: &Part, length: usize) -> (f64, State) {
        let Some(modelled) = &self.model else { return (0.0, *state) };
        let (log, next) = modelled.log10(&self.settings, state, word, length);
        (self.weigh(log), next)
    }

    /// The score of the last word of a text, which may have no letters.
    pub fn last_word(&self, state: &State, word: &Part, length: usize) -> f64 {
        let Some(modelled) = &self.model else { return 0.0 };
        let (mut log, next) = modelled.log10(&self.settings, state, word, length);
        if self.settings.score_boundary {
            log += modelled.model.score(&next, modelled.model.end()).0;
        }
        self.weigh(log)
    }

    fn weigh(&self, log10: f64) -> f64 {
        self.settings.alpha * log10 * LN_10 + self.settings.beta
    }

    /// The weight of a word of `length` bytes.
    pub fn hot_word(&self, word: &Part, length: usize) -> f64 {
        self.hot.whole(&word.hot, length)
    }
}

impl Modelled {
    fn log10(&self, settings: &Settings, state: &State, word: &Part, length: usize) -> (f64, State) {
        let id = self.words.exact(&word.modelled, length);
        let (log, next) = self.model.score(state, id.unwrap_or(self.model.unknown()));
        let known = match &self.known {
            Some(known) if known.len() > 0 => known.exact(&word.known, length).is_some(),
            _ => true,
        };
        (if known && id.is_some() { log } else { log + settings.unknown }, next)
    }
}
