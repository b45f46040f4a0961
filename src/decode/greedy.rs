//! The most probable token of each frame.

use super::alphabet::Alphabet;
use super::emissions::{Emissions, best};
use super::hypothesis::{Hypothesis, HypothesisWord};

/// A word under way.
#[derive(Default)]
struct Under {
    word: String,
    frames: (usize, usize),
    probability: f64,
    count: f64,
}

/// The text of the best path: repetitions collapsed, blanks dropped.
pub(super) fn greedy(alphabet: &Alphabet, emissions: &Emissions) -> Hypothesis {
    let mut words = Vec::new();
    let mut under = Under::default();
    let mut score = 0.0;
    let mut last = 0;
    let mut parted = false;
    for (frame, now) in emissions.frames().zip(0..) {
        let (id, log) = best(frame);
        score += log;
        if id == 0 || id as usize >= alphabet.len() {
            last = 0;
            continue;
        }
        let token = alphabet.token(id);
        if id != last {
            if token.space || token.begins || parted {
                finish(&mut words, &mut under);
            }
            parted = token.ends && !token.text.is_empty();
            if under.count == 0.0 {
                under.frames.0 = now;
            }
            under.word.push_str(&token.text);
        }
        if !token.space {
            under.frames.1 = now + 1;
            under.probability += log.exp();
            under.count += 1.0;
        }
        last = id;
    }
    finish(&mut words, &mut under);
    let text = words.iter().map(|word: &HypothesisWord| word.word.as_str()).collect::<Vec<_>>().join(" ");
    Hypothesis { text, words, ctc_score: score, score }
}

fn finish(words: &mut Vec<HypothesisWord>, under: &mut Under) {
    let Under { word, frames, probability, count } = std::mem::take(under);
    if !word.is_empty() {
        words.push(HypothesisWord {
            word,
            start_frame: frames.0,
            end_frame: frames.1,
            confidence: probability / count,
        });
    }
}
