//! Words with their times.

use serde::{Deserialize, Serialize};

/// Seconds from one encoder frame to the next: a hop of 10 ms, subsampled by 4.
pub const SECONDS_PER_FRAME: f64 = 0.04;

/// The fewest encoder frames in which CTC can say `tokens`: one each, and a blank between equal ones.
pub fn least_frames<T: PartialEq>(tokens: &[T]) -> usize {
    tokens.len() + tokens.windows(2).filter(|pair| pair[0] == pair[1]).count()
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
    /// In [0, 1], as of [`crate::decode::HypothesisWord`].
    pub confidence: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_tokens_need_a_blank_between_them() {
        assert_eq!(least_frames(&['a', 'a', 'b']), 4);
        assert_eq!(least_frames::<u32>(&[]), 0);
    }
}
