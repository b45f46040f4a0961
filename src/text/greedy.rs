//! Greedy CTC decoding, with the times of words.

use serde::{Deserialize, Serialize};

use super::Vocabulary;
use crate::error::{Error, Result};

/// Seconds from one encoder frame to the next: a hop of 10 ms, subsampled by 4.
pub const SECONDS_PER_FRAME: f64 = 0.04;

/// How encoder frames lie in the original audio.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Timing {
    /// Seconds from one frame to the next, usually [`SECONDS_PER_FRAME`].
    pub seconds_per_frame: f64,
    /// Seconds of frame 0 before the audio's beginning: silence that was added, and the left padding
    /// to a multiple of 4 feature frames.
    pub offset: f64,
    /// Seconds of the original audio; no word begins or ends outside it.
    pub duration: f64,
}

/// A recognized word.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Word {
    /// The word.
    pub word: String,
    /// Seconds from the audio's beginning to the word's first frame.
    pub start: f64,
    /// Seconds from the audio's beginning to the end of the word's last frame.
    pub end: f64,
    /// Mean probability, in [0, 1], of the word's characters over the frames that emit them.
    pub confidence: f64,
}

/// A stretch of frames with one token that is not the blank.
struct Run {
    id: u32,
    /// First and one past the last frame.
    frames: std::ops::Range<usize>,
}

/// The non-blank runs of the best path `frames` (one id a frame).
fn runs(frames: &[u32]) -> impl Iterator<Item = Run> {
    let mut start = 0;
    let chunks = frames.chunk_by(|a, b| a == b).map(move |chunk| {
        let run = Run { id: chunk[0], frames: start..start + chunk.len() };
        start += chunk.len();
        run
    });
    chunks.filter(|run| run.id != Vocabulary::BLANK)
}

/// Greedy CTC decoding: `frames`, the most probable id of each frame, with repetitions collapsed and
/// blanks dropped. Spec: paper's section on fine-tuning, used for validation.
pub fn greedy(frames: &[u32]) -> Vec<u32> {
    runs(frames).map(|run| run.id).collect()
}

/// The words of the best path with their times and confidence.
///
/// `frames` holds the most probable id of each frame and `probabilities` its probability.
///
/// # Errors
/// When the two differ in length.
pub fn words(
    vocabulary: &Vocabulary,
    frames: &[u32],
    probabilities: &[f32],
    timing: Timing,
) -> Result<Vec<Word>> {
    if frames.len() != probabilities.len() {
        return Err(Error::invalid(format!(
            "{} frames came with {} probabilities; give one a frame",
            frames.len(),
            probabilities.len()
        )));
    }
    let seconds = |frame: usize| {
        let time = frame as f64 * timing.seconds_per_frame - timing.offset;
        time.clamp(0.0, timing.duration.max(0.0))
    };
    let runs: Vec<Run> = runs(frames).collect();
    let is_space = |run: &Run| vocabulary.token(run.id).is_none_or(|token| token.trim().is_empty());
    let begins =
        |run: &Run| vocabulary.has_pieces() && vocabulary.token(run.id).is_some_and(|t| t.starts_with('▁'));
    let groups = runs.split(is_space).flat_map(|words| words.chunk_by(|_, next| !begins(next)));
    let text = |group: &[Run]| {
        let ids: Vec<u32> = group.iter().map(|run| run.id).collect();
        vocabulary.decode(&ids)
    };
    let groups = groups.map(|group| (text(group), group)).filter(|(text, _)| !text.is_empty());
    let word = |(word, group): (String, &[Run])| {
        let probabilities = group.iter().flat_map(|run| &probabilities[run.frames.clone()]);
        let (sum, count) =
            probabilities.fold((0.0, 0.0), |(sum, count), &p| (sum + f64::from(p), count + 1.0));
        Word {
            word,
            start: seconds(group[0].frames.start),
            end: seconds(group[group.len() - 1].frames.end),
            confidence: sum / count,
        }
    };
    Ok(groups.map(word).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn collapses_and_drops_blanks() {
        assert_eq!(greedy(&[0, 3, 3, 0, 3, 5, 5, 5, 0, 0]), [3, 3, 5]);
        assert!(greedy(&[0, 0]).is_empty());
        assert!(greedy(&[]).is_empty());
    }

    #[test]
    fn words_have_times_and_confidence() {
        let vocabulary = Vocabulary::english();
        // "ab c": a a _ b space space c
        let frames = [0, 1, 1, 0, 2, 28, 28, 3];
        let probabilities = [0.1, 1.0, 0.5, 0.1, 0.9, 0.1, 0.1, 0.25];
        let timing = Timing { seconds_per_frame: 0.04, offset: 0.05, duration: 0.25 };
        let words = words(&vocabulary, &frames, &probabilities, timing).unwrap();
        assert_eq!(words.len(), 2);
        let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-6, "{a} {b}");
        assert_eq!((words[0].word.as_str(), words[1].word.as_str()), ("ab", "c"));
        close(words[0].start, 0.0);
        close(words[0].end, 0.15);
        close(words[0].confidence, 0.8);
        close(words[1].start, 0.23);
        close(words[1].end, 0.25);
        close(words[1].confidence, 0.25);
    }

    #[test]
    fn lengths_must_agree() {
        let timing = Timing { seconds_per_frame: 0.04, offset: 0.0, duration: 1.0 };
        assert!(words(&Vocabulary::english(), &[1], &[], timing).is_err());
    }

    proptest! {
        #[test]
        fn words_and_decode_agree(frames in prop::collection::vec(0_u32..31, 0..80)) {
            let vocabulary = Vocabulary::english();
            let timing = Timing { seconds_per_frame: 0.04, offset: 0.2, duration: 2.0 };
            let found = words(&vocabulary, &frames, &vec![0.5; frames.len()], timing).unwrap();
            let known: Vec<u32> = frames.iter().map(|&id| if id < 29 { id } else { 28 }).collect();
            let text: Vec<&str> = found.iter().map(|word| word.word.as_str()).collect();
            prop_assert_eq!(text.join(" "), super::super::normalize(&vocabulary.decode(&greedy(&known))));
            for word in &found {
                prop_assert!(word.start <= word.end && word.end <= 2.0 && word.confidence == 0.5);
            }
        }
    }
}
