//! The most probable token of each frame.

use super::alphabet::Alphabet;
use super::emissions::{Emissions, best};
use super::hypothesis::{Hypothesis, HypothesisWord};
use crate::text::compose;

/// The best path of one utterance, frame by frame: repetitions collapsed, blanks dropped.
#[derive(Debug, Clone)]
pub struct BestPath {
    alphabet: Alphabet,
    words: Vec<HypothesisWord>,
    under: Under,
    score: f64,
    last: u32,
    /// Whether the next token begins a word, whichever it is.
    parted: bool,
    frame: usize,
}

/// A word under way.
#[derive(Debug, Clone, Default)]
struct Under {
    word: String,
    frames: (usize, usize),
    probability: f64,
    count: f64,
}

impl BestPath {
    /// Begins an utterance.
    pub(super) fn new(alphabet: &Alphabet) -> Self {
        Self {
            alphabet: alphabet.clone(),
            words: Vec::new(),
            under: Under::default(),
            score: 0.0,
            last: 0,
            parted: false,
            frame: 0,
        }
    }

    /// Takes the next frame: tokens with their log-probabilities.
    pub fn push(&mut self, frame: &[(u32, f64)]) {
        let now = self.frame;
        self.frame += 1;
        let (id, log) = best(frame);
        self.score += log;
        if id == 0 || id as usize >= self.alphabet.len() {
            self.last = 0;
            return;
        }
        let token = self.alphabet.token(id);
        if id != self.last {
            if token.space || token.begins || self.parted {
                self.words.extend(std::mem::take(&mut self.under).finish());
            }
            self.parted = token.ends && !token.text.is_empty();
            if self.under.count == 0.0 {
                self.under.frames.0 = now;
            }
            self.under.word.push_str(&token.text);
        }
        if !token.space {
            self.under.frames.1 = now + 1;
            self.under.probability += log.exp();
            self.under.count += 1.0;
        }
        self.last = id;
    }

    /// The text so far, with the word that is begun.
    pub fn hypothesis(&self) -> Hypothesis {
        let words = self.words.iter().cloned().chain(self.under.clone().finish());
        Hypothesis::new(words.collect(), self.score, self.score)
    }

    /// Number of words that are whole, and stay.
    pub fn settled(&self) -> usize {
        self.words.len()
    }
}

/// The text of the best path.
pub(super) fn greedy(alphabet: &Alphabet, emissions: &Emissions) -> Hypothesis {
    let mut path = BestPath::new(alphabet);
    emissions.frames().for_each(|frame| path.push(frame));
    path.hypothesis()
}

impl Under {
    fn finish(self) -> Option<HypothesisWord> {
        let Self { word, frames: (start_frame, end_frame), probability, count } = self;
        let confidence = probability / count;
        let word = || HypothesisWord { word: compose(&word), start_frame, end_frame, confidence };
        (!word().word.is_empty()).then(word)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn letters() -> Alphabet {
        let tokens: Vec<String> =
            ["".to_owned()].into_iter().chain(('a'..='z').chain(['\'', ' ']).map(String::from)).collect();
        Alphabet::new(&tokens).unwrap()
    }

    #[test]
    fn words_have_frames_and_confidence() {
        // "ab c": a a _ b space space c
        let frames = [(0, 0.1), (1, 1.0), (1, 0.5), (0, 0.1), (2, 0.9), (28, 0.1), (28, 0.1), (3, 0.25_f32)];
        let mut emissions = Emissions::new();
        for (id, probability) in frames {
            emissions.push(&[(id, probability.ln())]).unwrap();
        }
        let found = greedy(&letters(), &emissions);
        assert_eq!((found.text.as_str(), found.words.len()), ("ab c", 2));
        let spans: Vec<_> = found.words.iter().map(|word| (word.start_frame, word.end_frame)).collect();
        assert_eq!(spans, [(1, 5), (7, 8)]);
        for (word, confidence) in found.words.iter().zip([0.8, 0.25]) {
            assert!((word.confidence - confidence).abs() < 1e-6, "{word:?}");
        }
    }

    #[test]
    fn letters_in_parts_are_composed() {
        let alphabet = Alphabet::new(&["", "e", "\u{301}", " "]).unwrap();
        let found = greedy(&alphabet, &Emissions::certain(&[1, 2, 0, 3, 1, 0, 1]));
        assert_eq!(found.text, "\u{e9} ee");
    }

    proptest! {
        #[test]
        fn repetitions_collapse_and_blanks_drop(frames in prop::collection::vec(0_u32..31, 0..80)) {
            let found = greedy(&letters(), &Emissions::certain(&frames));
            let mut runs = frames.clone();
            runs.dedup();
            // Ids that are no token say nothing.
            let spelled: String = runs
                .into_iter()
                .filter_map(|id| match id {
                    1..=26 => Some((b'a' + id as u8 - 1) as char),
                    27 => Some('\''),
                    28 => Some(' '),
                    _ => None,
                })
                .collect();
            prop_assert_eq!(&found.text, &spelled.split_whitespace().collect::<Vec<_>>().join(" "));
            prop_assert!(found.words.windows(2).all(|pair| pair[0].end_frame <= pair[1].start_frame));
            prop_assert!(found.words.iter().all(|w| w.start_frame < w.end_frame && w.confidence == 1.0));
        }
    }
}
