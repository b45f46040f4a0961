//! Forced alignment: the most probable path through the frames for a known text.

use std::ops::Range;

use super::emissions::LOWEST;
use crate::error::{Error, Result};
use crate::text::least_frames;

/// Places in the table of a text by frames (a quarter of a byte each) that are worked through at the most.
const MOST_CELLS: usize = 1 << 31;

/// The frames that say each token, in the order of the tokens.
#[derive(Debug, Clone, PartialEq)]
pub struct Alignment {
    /// One stretch a token; blanks lie between them.
    pub frames: Vec<Range<usize>>,
    /// Mean probability of each token over its frames.
    pub probabilities: Vec<f64>,
    /// Logarithm of the probability of the path.
    pub score: f64,
}

/// The best path of CTC through `frames` that says `tokens`. Each frame has tokens with their log-probabilities, in the
/// order of the ids; blank is 0.
///
/// # Errors
/// When the text has more tokens than so few frames can say, or text and audio are too long to be aligned at once.
pub fn align(frames: &[&[(u32, f64)]], tokens: &[u32]) -> Result<Alignment> {
    let needed = least_frames(tokens);
    if needed > frames.len() {
        return Err(Error::invalid(format!(
            "the text needs {needed} frames of 40 ms, and the audio has {}; give the text of this audio",
            frames.len()
        )));
    }
    let states = 2 * tokens.len() + 1;
    if frames.len().saturating_mul(states) > MOST_CELLS {
        return Err(Error::invalid(format!(
            "{} frames and {} tokens are too many to be aligned at once; part the audio",
            frames.len(),
            tokens.len()
        )));
    }
    // Every token is looked up once a frame, however often the text has it.
    let mut ids: Vec<u32> = std::iter::once(0).chain(tokens.iter().copied()).collect();
    ids.sort_unstable();
    ids.dedup();
    let place = |id: u32| ids.binary_search(&id).unwrap_or_default();
    let places: Vec<usize> =
        (0..states).map(|state| if state % 2 == 0 { 0 } else { place(tokens[state / 2]) }).collect();
    // A token may follow another without a blank between them, unless it is the same.
    let skips: Vec<bool> = (0..states)
        .map(|state| state % 2 == 1 && state > 1 && tokens[state / 2] != tokens[state / 2 - 1])
        .collect();
    let mut logs = vec![LOWEST; ids.len()];
    let mut look_up = |frame: &[(u32, f64)]| {
        for (log, &id) in logs.iter_mut().zip(&ids) {
            *log = frame.binary_search_by_key(&id, |&(id, _)| id).map_or(LOWEST, |at| frame[at].1);
        }
        logs.clone()
    };
    let mut back = vec![0_u8; (frames.len() * states).div_ceil(4)];
    let (mut now, mut next) = (vec![f64::NEG_INFINITY; states], vec![f64::NEG_INFINITY; states]);
    for (time, frame) in frames.iter().enumerate() {
        let logs = look_up(frame);
        for state in 0..states {
            let came = |steps: usize| if steps <= state { now[state - steps] } else { f64::NEG_INFINITY };
            let begins = if time == 0 && state < 2 { 0.0 } else { f64::NEG_INFINITY };
            let mut best = (if time == 0 { begins } else { came(0) }, 0);
            if time > 0 {
                for steps in 1..=if skips[state] { 2 } else { 1 } {
                    if came(steps) > best.0 {
                        best = (came(steps), steps);
                    }
                }
            }
            next[state] = best.0 + logs[places[state]];
            let cell = time * states + state;
            back[cell / 4] |= (best.1 as u8) << (2 * (cell % 4));
        }
        std::mem::swap(&mut now, &mut next);
    }
    let mut alignment =
        Alignment { frames: vec![0..0; tokens.len()], probabilities: vec![0.0; tokens.len()], score: 0.0 };
    if frames.is_empty() {
        return Ok(alignment);
    }
    let mut state = if states > 1 && now[states - 2] > now[states - 1] { states - 2 } else { states - 1 };
    alignment.score = now[state];
    for time in (0..frames.len()).rev() {
        if state % 2 == 1 {
            let (token, own) = (tokens[state / 2], &mut alignment.frames[state / 2]);
            *own = if own.end == 0 { time..time + 1 } else { time..own.end };
            let log = frames[time].binary_search_by_key(&token, |&(id, _)| id);
            alignment.probabilities[state / 2] += log.map_or(LOWEST, |at| frames[time][at].1).exp();
        }
        let cell = time * states + state;
        state -= usize::from(back[cell / 4] >> (2 * (cell % 4)) & 3);
    }
    for (probability, frames) in alignment.probabilities.iter_mut().zip(&alignment.frames) {
        *probability /= frames.len().max(1) as f64;
    }
    Ok(alignment)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rows(logs: &[Vec<f64>]) -> Vec<Vec<(u32, f64)>> {
        logs.iter().map(|row| (0..).zip(row.iter().copied()).collect()).collect()
    }

    fn aligned(logs: &[Vec<f64>], tokens: &[u32]) -> Result<Alignment> {
        let rows = rows(logs);
        align(&rows.iter().map(Vec::as_slice).collect::<Vec<_>>(), tokens)
    }

    #[test]
    fn a_path_by_hand() {
        let row =
            |best: usize| (0..3).map(|id| if id == best { 0.7_f64.ln() } else { 0.15_f64.ln() }).collect();
        let logs: Vec<Vec<f64>> = [0, 1, 1, 0, 1, 2, 2].map(row).into();
        let found = aligned(&logs, &[1, 1, 2]).unwrap();
        assert_eq!(found.frames, [1..3, 4..5, 5..7]);
        assert!((found.score - 7.0 * 0.7_f64.ln()).abs() < 1e-9);
        assert!(found.probabilities.iter().all(|p| (p - 0.7).abs() < 1e-9));
        // Between equal tokens stands a blank, wherever it costs the least.
        let found = aligned(&logs[4..], &[1, 1]).unwrap();
        assert_eq!((found.frames[0].clone(), found.frames[1].clone()), (0..1, 2..3));
        let message = aligned(&logs[..2], &[1, 1]).unwrap_err().to_string();
        assert!(message.contains("needs 3 frames") && message.contains("has 2"), "{message}");
        assert!(aligned(&[], &[]).unwrap().frames.is_empty());
    }

    proptest! {
        /// No other path says the text with a higher probability.
        #[test]
        fn it_is_the_best_path(
            logs in prop::collection::vec(prop::collection::vec(-5.0_f64..0.0, 3), 1..7),
            tokens in prop::collection::vec(1_u32..3, 0..4),
        ) {
            let count = 3_usize.pow(logs.len() as u32);
            let mut best = f64::NEG_INFINITY;
            for number in 0..count {
                let path: Vec<u32> =
                    (0..logs.len()).map(|at| (number / 3_usize.pow(at as u32) % 3) as u32).collect();
                let mut said = path.clone();
                said.dedup();
                said.retain(|&id| id != 0);
                if said == tokens {
                    best = best.max(path.iter().zip(&logs).map(|(&id, row)| row[id as usize]).sum());
                }
            }
            match aligned(&logs, &tokens) {
                Ok(found) => {
                    prop_assert!((found.score - best).abs() < 1e-9, "{} {best}", found.score);
                    prop_assert!(found.frames.iter().all(|frames| !frames.is_empty()));
                    prop_assert!(found.frames.windows(2).all(|pair| pair[0].end <= pair[1].start));
                }
                Err(_) => prop_assert_eq!(best, f64::NEG_INFINITY),
            }
        }
    }
}
