//! Beam search as pyctcdecode and SpeechBrain's `CTCBeamSearcher` do it, the one behind the published error rates.
//!
//! A beam is a text, the beginning of a word and the last token. After each frame, those with the same three are one, with
//! the sum of their probabilities and the frames of the one that came last; blank and token have no masses of their own.

mod order;
mod score;
mod texts;

use std::collections::HashSet;
use std::sync::Arc;

use super::alphabet::Alphabet;
use super::emissions::{Emissions, best};
use super::hot_words::HotWords;
use super::hypothesis::{Hypothesis, HypothesisWord, set_confidences};
use super::lm::LanguageModel;
use super::settings::Settings;
use crate::error::Result;
use crate::text::compose;
use order::Order;
use score::Scoring;
use texts::{EMPTY, NOWHERE, Texts};

/// No token yet.
const NONE: u32 = u32::MAX;
const BLANK: u32 = 0;
/// Words and texts that are kept at least.
const ROOM: usize = 1 << 18;

/// Beam search with all that it reads, for any number of utterances at once.
#[derive(Debug)]
pub struct BeamSearch {
    scoring: Arc<Scoring>,
}

/// The search through one utterance, frame by frame.
#[derive(Debug)]
pub struct Search {
    scoring: Arc<Scoring>,
    texts: Texts,
    beams: Vec<Beam>,
    frame: i32,
    /// Whether the next token that is added to a beam, whichever, begins a word: what a token that ends in `▁` leaves
    /// behind in pyctcdecode.
    parted: bool,
    /// Words and texts after which those that no beam needs are forgotten.
    room: usize,
    /// Room that is used again.
    order: Order,
    ids: Vec<u32>,
    logs: Vec<f64>,
    merged: Merged,
    candidates: Vec<Beam>,
    ranks: Ranks,
}

#[derive(Debug, Clone, Copy)]
struct Beam {
    text: u32,
    part: u32,
    last: u32,
    /// Frames of the text's words, and of the word that is begun.
    frames: u32,
    own: (i32, i32),
    /// Logarithm of the probability, and with what language model and hot words add.
    ctc: f64,
    score: f64,
}

/// Finds the best beams.
#[derive(Debug, Default)]
struct Ranks(Vec<(f64, u32)>);

/// Finds, among the candidates of a frame, the one with the same text, word and token.
#[derive(Debug, Default)]
struct Merged {
    /// For each place, the frame that it was filled in and the candidate.
    places: Vec<(u32, u32)>,
    round: u32,
}

impl BeamSearch {
    /// A search with `settings`; `known` are the words that count as known, by default those of the language model.
    ///
    /// # Errors
    /// When a setting is out of range, or the language model has no word.
    pub fn new(
        alphabet: Alphabet,
        settings: Settings,
        model: Option<Arc<LanguageModel>>,
        known: Option<&[String]>,
        hot_words: &HotWords,
    ) -> Result<Self> {
        settings.validate()?;
        let scoring = Scoring::new(alphabet, settings, model, known, hot_words)?;
        Ok(Self { scoring: Arc::new(scoring) })
    }

    /// The tokens that it reads.
    pub fn alphabet(&self) -> &Alphabet {
        &self.scoring.alphabet
    }

    /// The log-probability from which on it looks at tokens.
    pub fn token_prune(&self) -> f64 {
        self.scoring.settings.token_prune
    }

    /// Begins an utterance.
    pub fn begin(&self) -> Search {
        let beam =
            Beam { text: EMPTY, part: EMPTY, last: NONE, frames: 0, own: NOWHERE, ctc: 0.0, score: 0.0 };
        Search {
            scoring: self.scoring.clone(),
            texts: Texts::new(&self.scoring),
            beams: vec![beam],
            frame: 0,
            parted: false,
            room: ROOM,
            order: Order::default(),
            ids: Vec::new(),
            logs: Vec::new(),
            merged: Merged::default(),
            candidates: Vec::new(),
            ranks: Ranks::default(),
        }
    }

    /// The best texts of an utterance, at most `count`, the best one first.
    pub fn decode(&self, emissions: &Emissions, count: usize) -> Vec<Hypothesis> {
        let mut search = self.begin();
        for frame in emissions.frames() {
            search.push(frame);
        }
        search.finish(count)
    }
}

impl Search {
    /// Takes the next frame: tokens with their log-probabilities, in the order of their ids. Tokens that the vocabulary
    /// lacks are passed over.
    pub fn push(&mut self, frame: &[(u32, f64)]) {
        let scoring = self.scoring.clone();
        let tokens = scoring.alphabet.len() as u32;
        let best = best(frame).0;
        let likely =
            |&&(id, log): &&(u32, f64)| id < tokens && (log >= scoring.settings.token_prune || id == best);
        self.ids.clear();
        self.ids.extend(frame.iter().filter(likely).map(|&(id, _)| id));
        self.order.sort(&mut self.ids, best.min(tokens - 1));
        self.logs.clear();
        let log = |id: &u32| frame.binary_search_by_key(id, |&(id, _)| id).map_or(0.0, |at| frame[at].1);
        self.logs.extend(self.ids.iter().map(log));

        let mut candidates = std::mem::take(&mut self.candidates);
        self.merged.begin(self.ids.len() * self.beams.len());
        for index in 0..self.ids.len() {
            let (token, log) = (self.ids[index], self.logs[index]);
            for beam in 0..self.beams.len() {
                let grown = self.grow(self.beams[beam], token, log);
                self.merged.add(&mut candidates, grown);
            }
        }
        for beam in &mut candidates {
            let text = self.texts.text(beam.text);
            beam.score = beam.ctc + text.score + text.hot + self.texts.part(beam.part).begun;
        }
        self.beams.clear();
        self.ranks.keep(&candidates, &scoring.settings, &mut self.beams);
        candidates.clear();
        self.candidates = candidates;
        if scoring.settings.prune_history {
            self.prune_history();
        }
        if self.texts.size() > self.room {
            self.forget();
            self.room = (2 * self.texts.size()).max(ROOM);
        }
        self.frame += 1;
    }

    /// `beam` with one token more.
    fn grow(&mut self, beam: Beam, token: u32, log: f64) -> Beam {
        let (scoring, now) = (&*self.scoring, self.frame);
        let ctc = beam.ctc + log;
        if token == BLANK {
            return Beam { last: token, ctc, ..beam };
        }
        if beam.last == token {
            return Beam { own: (beam.own.0, now + 1), ctc, ..beam };
        }
        let form = scoring.alphabet.token(token);
        let begins = scoring.alphabet.pieces() && (form.begins || self.parted);
        if form.space || begins {
            let text = self.texts.extend(scoring, beam.text, beam.part);
            let frames = match beam.part {
                EMPTY => beam.frames,
                _ => self.texts.add_frames(beam.frames, beam.own),
            };
            if form.space {
                return Beam { text, part: EMPTY, last: token, frames, own: NOWHERE, ctc, ..beam };
            }
            self.parted = form.ends;
            let part = self.texts.spell(scoring, EMPTY, token);
            return Beam { text, part, last: token, frames, own: (now, now + 1), ctc, ..beam };
        }
        let part = self.texts.spell(scoring, beam.part, token);
        let begin = if beam.own.0 < 0 { now } else { beam.own.0 };
        Beam { part, last: token, own: (begin, now + 1), ctc, ..beam }
    }

    /// Of beams that end alike, keeps the best.
    fn prune_history(&mut self) {
        let count = self.scoring.history();
        let texts = &self.texts;
        let mut seen = HashSet::new();
        self.beams.retain(|beam| seen.insert((texts.last_words(beam.text, count), beam.part, beam.last)));
    }

    /// Forgets the words and texts that no beam needs any more.
    fn forget(&mut self) {
        let mut roots: Vec<[u32; 3]> =
            self.beams.iter().map(|beam| [beam.text, beam.part, beam.frames]).collect();
        self.texts.compact(&mut roots);
        for (beam, root) in self.beams.iter_mut().zip(roots) {
            [beam.text, beam.part, beam.frames] = root;
        }
    }

    /// The best text so far, with the word that is begun.
    pub fn hypothesis(&self) -> Hypothesis {
        let mut hypotheses: Vec<Hypothesis> = self
            .beams
            .iter()
            .map(|beam| {
                let (mut words, mut frames) = (self.texts.words(beam.text), self.texts.frames(beam.frames));
                if beam.part != EMPTY {
                    words.push(beam.part);
                    frames.push(beam.own);
                }
                self.hypothesis_of(beam, &words, frames)
            })
            .collect();
        set_confidences(&mut hypotheses, 1);
        hypotheses.into_iter().next().unwrap_or_default()
    }

    /// Number of words with which all beams begin, and so every text that is found later: they stay, whatever follows.
    pub fn settled(&self) -> usize {
        let mut beams = self.beams.iter().map(|beam| self.texts.words(beam.text));
        let mut common = beams.next().unwrap_or_default();
        for words in beams {
            let same = common.iter().zip(&words).take_while(|(a, b)| a == b).count();
            common.truncate(same);
        }
        common.len()
    }

    fn hypothesis_of(&self, beam: &Beam, words: &[u32], frames: Vec<(i32, i32)>) -> Hypothesis {
        let word = |(&word, frames): (&u32, (i32, i32))| HypothesisWord {
            word: compose(&self.texts.letters(&self.scoring, word)),
            start_frame: frames.0.max(0) as usize,
            end_frame: frames.1.max(0) as usize,
            confidence: 0.0,
        };
        let words = words.iter().zip(frames).map(word).collect();
        Hypothesis::new(words, beam.ctc, beam.score)
    }

    /// The best texts, at most `count`, the best one first.
    pub fn finish(mut self, count: usize) -> Vec<Hypothesis> {
        let scoring = self.scoring.clone();
        let mut ended: Vec<Beam> = Vec::with_capacity(self.beams.len());
        self.merged.begin(self.beams.len());
        for beam in std::mem::take(&mut self.beams) {
            let text = self.texts.extend(&scoring, beam.text, beam.part);
            let frames = match beam.part {
                EMPTY => beam.frames,
                _ => self.texts.add_frames(beam.frames, beam.own),
            };
            let (before, word) = (self.texts.text(beam.text), self.texts.part(beam.part));
            let last = scoring.last_word(&before.state, word);
            // Of texts that merge, the last one's way of ending counts: a space there is one more word, without letters.
            let added = before.score + last + self.texts.text(text).hot;
            let ended_beam =
                Beam { text, part: EMPTY, last: NONE, frames, own: NOWHERE, score: added, ..beam };
            self.merged.add(&mut ended, ended_beam);
        }
        for beam in &mut ended {
            beam.score += beam.ctc;
        }
        let mut kept = Vec::new();
        self.ranks.keep(&ended, &scoring.settings, &mut kept);
        let found = kept.iter().map(|beam| {
            self.hypothesis_of(beam, &self.texts.words(beam.text), self.texts.frames(beam.frames))
        });
        let mut hypotheses: Vec<Hypothesis> = found.collect();
        set_confidences(&mut hypotheses, count);
        hypotheses.truncate(count);
        hypotheses
    }
}

impl Merged {
    /// Forgets all, and makes room for `count` candidates.
    fn begin(&mut self, count: usize) {
        let size = (2 * count).next_power_of_two().max(64);
        if self.places.len() < size || self.round == u32::MAX {
            self.places.clear();
            self.places.resize(size, (0, 0));
            self.round = 0;
        }
        self.round += 1;
    }

    /// Adds a candidate, or adds it to the one that is the same.
    fn add(&mut self, candidates: &mut Vec<Beam>, new: Beam) {
        let mask = self.places.len() - 1;
        let hash = (u64::from(new.text) << 32 | u64::from(new.part)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let hash = (hash ^ u64::from(new.last)).wrapping_mul(0xD6E8_FEB8_6659_FD93);
        let mut at = (hash >> 32) as usize & mask;
        loop {
            let (round, index) = self.places[at];
            if round != self.round {
                self.places[at] = (self.round, candidates.len() as u32);
                candidates.push(new);
                return;
            }
            let same = &mut candidates[index as usize];
            if (same.text, same.part, same.last) == (new.text, new.part, new.last) {
                *same = Beam { ctc: sum(same.ctc, new.ctc), ..new };
                return;
            }
            at = (at + 1) & mask;
        }
    }
}

/// The logarithm of the sum of two numbers, given by their logarithms.
fn sum(a: f64, b: f64) -> f64 {
    let (larger, smaller) = if a >= b { (a, b) } else { (b, a) };
    larger + (1.0 + (smaller - larger).exp()).ln()
}

impl Ranks {
    /// Puts the best of `beams` into `kept`, the best one first; of equals, the one that came first.
    fn keep(&mut self, beams: &[Beam], settings: &Settings, kept: &mut Vec<Beam>) {
        let highest = beams.iter().map(|beam| beam.score).fold(f64::NEG_INFINITY, f64::max);
        let threshold = highest + settings.beam_prune;
        let scores = beams.iter().zip(0..).map(|(beam, index)| (beam.score, index));
        self.0.clear();
        self.0.extend(scores.filter(|&(score, _)| score >= threshold));
        let order = |a: &(f64, u32), b: &(f64, u32)| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1));
        if self.0.len() > settings.beam {
            self.0.select_nth_unstable_by(settings.beam, order);
            self.0.truncate(settings.beam);
        }
        self.0.sort_unstable_by(order);
        kept.extend(self.0.iter().map(|&(_, index)| beams[index as usize]));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forgetting_changes_nothing() {
        let arpa = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/decode.arpa");
        let model = LanguageModel::read_arpa(&*std::fs::read(arpa).unwrap(), arpa).unwrap();
        let alphabet = Alphabet::new(&["", "a", "c", "e", "h", "m", "n", "o", "s", "t", " "]).unwrap();
        let settings = Settings { beam: 30, ..Settings::default() };
        let search =
            BeamSearch::new(alphabet, settings, Some(Arc::new(model)), None, &HotWords::default()).unwrap();
        // Waves, so that many tokens are looked at.
        let wave = |i: usize| 2.5 * (0.9 * i as f32 + 0.0371 * (i * i % 9973) as f32).sin();
        let values: Vec<f32> = (0..120 * 11).map(wave).collect();
        let emissions = Emissions::dense(&values, 11, Some(search.token_prune())).unwrap();
        let [mut all, mut little] = [search.begin(), search.begin()];
        for frame in emissions.frames() {
            all.push(frame);
            little.push(frame);
            little.forget();
            assert_eq!((all.hypothesis(), all.settled()), (little.hypothesis(), little.settled()));
        }
        assert!(little.texts.size() * 4 < all.texts.size(), "{} {}", little.texts.size(), all.texts.size());
        let found = all.finish(30);
        assert!(found.len() > 5 && found[0].words.len() > 3, "{found:?}");
        assert_eq!(found, little.finish(30));
    }
}
