//! Scores of language model, known words and hot words.

use std::f64::consts::LN_10;
use std::sync::Arc;

use super::texts::{EMPTY, Part};
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

    /// The word without letters.
    pub fn empty(&self) -> Part {
        let model = self.model.as_ref();
        let known = |modelled: &Modelled| modelled.known.as_ref().map_or(0..0, Lexicon::all);
        Part {
            before: EMPTY,
            token: 0,
            hash: 0,
            bytes: 0,
            characters: 0,
            modelled: model.map_or(0..0, |modelled| modelled.words.all()),
            known: model.map_or(0..0, known),
            hot: self.hot.words.all(),
            begun: 0.0,
        }
    }

    /// The hash of the letters of `part` and `token`.
    pub fn hash(&self, part: &Part, token: u32) -> u64 {
        self.letters(token).bytes().fold(part.hash, |hash, byte| {
            (hash.rotate_left(9) ^ u64::from(byte)).wrapping_mul(0x9E37_79B9_7F4A_7C15)
        })
    }

    /// `part`, whose number is `before`, with the letters of `token` behind it, which have `hash`.
    pub fn part(&self, before: u32, part: &Part, token: u32, hash: u64) -> Part {
        let more = self.letters(token);
        let narrow = |lexicon: &Lexicon, found: &Found| lexicon.narrow(found.clone(), part.bytes, more);
        let characters = part.characters + more.chars().count();
        let hot = narrow(&self.hot.words, &part.hot);
        let (mut modelled, mut known, mut is_known) = (0..0, 0..0, true);
        if let Some(model) = &self.model {
            modelled = narrow(&model.words, &part.modelled);
            is_known = !modelled.is_empty();
            if let Some(words) = &model.known {
                known = narrow(words, &part.known);
                is_known = !known.is_empty();
            }
        }
        let begun = if !hot.is_empty() {
            self.hot.begun(&hot, characters)
        } else if is_known {
            0.0
        } else {
            self.settings.unknown * (characters.max(USUAL_LENGTH) as f64 / USUAL_LENGTH as f64)
        };
        Part { before, token, hash, bytes: part.bytes + more.len(), characters, modelled, known, hot, begun }
    }

    /// The score of a word after `state`, and the state behind it; 0 without a language model.
    pub fn word(&self, state: &State, word: &Part) -> (f64, State) {
        let Some(modelled) = &self.model else { return (0.0, *state) };
        let (log, next) = modelled.log10(&self.settings, state, word);
        (self.weigh(log), next)
    }

    /// The score of the last word of a text, which may have no letters.
    pub fn last_word(&self, state: &State, word: &Part) -> f64 {
        let Some(modelled) = &self.model else { return 0.0 };
        let (mut log, next) = modelled.log10(&self.settings, state, word);
        if self.settings.score_boundary {
            log += modelled.model.score(&next, modelled.model.end()).0;
        }
        self.weigh(log)
    }

    fn weigh(&self, log10: f64) -> f64 {
        self.settings.alpha * log10 * LN_10 + self.settings.beta
    }

    /// The weight of a word.
    pub fn hot_word(&self, word: &Part) -> f64 {
        self.hot.whole(&word.hot, word.bytes)
    }
}

impl Modelled {
    fn log10(&self, settings: &Settings, state: &State, word: &Part) -> (f64, State) {
        let id = self.words.exact(&word.modelled, word.bytes);
        let (log, next) = self.model.score(state, id.unwrap_or(self.model.unknown()));
        let known = match &self.known {
            Some(known) if known.len() > 0 => known.exact(&word.known, word.bytes).is_some(),
            _ => true,
        };
        (if known && id.is_some() { log } else { log + settings.unknown }, next)
    }
}
