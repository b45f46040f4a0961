//! Log-probabilities of an utterance's frames, the input of decoders.

use crate::error::{Error, Result};

/// Log-probabilities below ln 1e-15 count as that.
pub(super) const LOWEST: f64 = -34.538_776_394_910_684;

/// The tokens of each frame that a decoder looks at, with their log-probabilities.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Emissions {
    /// Where the tokens of each frame end.
    ends: Vec<usize>,
    tokens: Vec<(u32, f64)>,
}

impl Emissions {
    /// No frame yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Of the log-probabilities `values`, `[frames, tokens]`, those from `prune` up, and the largest of each frame; without
    /// `prune` that alone. Rows are normalized, so that logits may be given too.
    ///
    /// # Errors
    /// When the values are no whole number of rows, or a row holds NaN, infinity, or no finite value.
    pub fn dense(values: &[f32], tokens: usize, prune: Option<f64>) -> Result<Self> {
        if tokens == 0 || !values.len().is_multiple_of(tokens) {
            let message = format!("{} values are no rows of {tokens} tokens", values.len());
            return Err(Error::invalid(message));
        }
        let mut emissions = Self::new();
        for (row, frame) in values.chunks_exact(tokens).zip(0..) {
            let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            if !largest.is_finite() || row.iter().any(|value| value.is_nan()) {
                let message =
                    format!("frame {frame} holds no log-probabilities (NaN or infinity); compute them again");
                return Err(Error::invalid(message));
            }
            let largest = f64::from(largest);
            let sum = row.iter().map(|&value| (f64::from(value) - largest).exp()).sum::<f64>().ln() + largest;
            let logs = row.iter().map(|&value| (f64::from(value) - sum).clamp(LOWEST, 0.0));
            let threshold = prune.unwrap_or(f64::INFINITY);
            let best = row.iter().position(|&value| f64::from(value) == largest).unwrap_or_default();
            let kept = logs.zip(0_u32..).filter(|&(log, id)| log >= threshold || id as usize == best);
            emissions.tokens.extend(kept.map(|(log, id)| (id, log)));
            emissions.ends.push(emissions.tokens.len());
        }
        Ok(emissions)
    }

    /// Adds a frame: tokens with their log-probabilities, in the order of their ids; the most probable one among them.
    ///
    /// # Errors
    /// When there is none, ids do not ascend, or a number is NaN.
    pub fn push(&mut self, tokens: &[(u32, f32)]) -> Result<()> {
        let ascending = tokens.windows(2).all(|pair| pair[0].0 < pair[1].0);
        if tokens.is_empty() || !ascending || tokens.iter().any(|(_, log)| log.is_nan()) {
            let frame = self.len();
            return Err(Error::invalid(format!(
                "frame {frame} needs tokens in the order of their ids, without NaN"
            )));
        }
        self.tokens.extend(tokens.iter().map(|&(id, log)| (id, f64::from(log).clamp(LOWEST, 0.0))));
        self.ends.push(self.tokens.len());
        Ok(())
    }

    /// Of each frame the token `ids`, as if it were certain.
    pub fn certain(ids: &[u32]) -> Self {
        Self { ends: (1..=ids.len()).collect(), tokens: ids.iter().map(|&id| (id, 0.0)).collect() }
    }

    /// Leaves out the tokens that are not to be kept.
    pub(crate) fn retain(&mut self, keep: impl Fn(u32) -> bool) {
        let mut kept = Self::new();
        for frame in self.frames() {
            kept.tokens.extend(frame.iter().filter(|(id, _)| keep(*id)));
            kept.ends.push(kept.tokens.len());
        }
        *self = kept;
    }

    /// The most probable token of each frame.
    pub fn best(&self) -> impl Iterator<Item = u32> {
        self.frames().map(|frame| best(frame).0)
    }

    /// Number of frames.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is no frame.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The tokens of each frame.
    pub fn frames(&self) -> impl Iterator<Item = &[(u32, f64)]> {
        let mut begin = 0;
        self.ends.iter().map(move |&end| &self.tokens[std::mem::replace(&mut begin, end)..end])
    }
}

/// The most probable token of a frame, the first of equals.
pub(super) fn best(frame: &[(u32, f64)]) -> (u32, f64) {
    frame
        .iter()
        .copied()
        .reduce(|best, token| if token.1 > best.1 { token } else { best })
        .unwrap_or((0, 0.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_normalized_clipped_and_pruned() {
        let row = [0.0, 1.0, f32::NEG_INFINITY, -60.0];
        let kept = Emissions::dense(&row, 4, Some(-2.0)).unwrap();
        let frame = kept.frames().next().unwrap();
        assert_eq!(frame.len(), 2);
        assert!((frame[0].1 + 1.313_262).abs() < 1e-6 && (frame[1].1 + 0.313_262).abs() < 1e-6, "{frame:?}");
        let all = Emissions::dense(&row, 4, Some(-40.0)).unwrap();
        let frame = all.frames().next().unwrap();
        assert_eq!((frame.len(), frame[2].1), (4, LOWEST));
        let one = Emissions::dense(&row, 4, None).unwrap();
        assert_eq!(one.frames().next().unwrap().len(), 1);
        for bad in [[0.0, f32::NAN], [f32::INFINITY, 0.0], [f32::NEG_INFINITY; 2]] {
            let message =
                Emissions::dense(&[&[-1.0, -1.0], &bad[..]].concat(), 2, None).unwrap_err().to_string();
            assert!(message.contains("frame 1"), "{message}");
        }
        assert!(Emissions::dense(&row, 3, None).is_err());
    }
}
