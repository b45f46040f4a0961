//! Per-band mean and standard deviation.

use serde::{Deserialize, Serialize};

use super::features::{BANDS, Features};
use crate::error::{Error, Result};

const SMALLEST_STD: f64 = 1e-10;

/// Mean and standard deviation of every mel band, in dB.
///
/// The deviation is the population's (divided by the number of frames), floored at 1e-10.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stats {
    /// `[80]`
    pub mean: Vec<f32>,
    /// `[80]`
    pub std: Vec<f32>,
}

/// How energies become the encoder's input: (x − mean) / std, per band.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Normalization {
    /// With the statistics of the training data, frozen.
    Global(Stats),
    /// With the utterance's own statistics.
    Sentence,
}

impl Stats {
    /// Statistics that leave energies as they are.
    pub fn identity() -> Self {
        Self { mean: vec![0.0; BANDS], std: vec![1.0; BANDS] }
    }

    /// Checks values that come from a file.
    ///
    /// # Errors
    /// When there are not 80 finite means and 80 positive deviations.
    pub fn check(&self) -> Result<()> {
        if self.mean.len() != BANDS || self.std.len() != BANDS {
            return Err(Error::invalid(format!(
                "normalization has {} means and {} deviations; {BANDS} bands need {BANDS} of each",
                self.mean.len(),
                self.std.len()
            )));
        }
        let sound = |&i: &usize| self.mean[i].is_finite() && self.std[i] > 0.0 && self.std[i].is_finite();
        let bad = (0..BANDS).find(|band| !sound(band));
        match bad {
            Some(band) => Err(Error::invalid(format!(
                "normalization of band {band} has mean {} and deviation {}; compute the statistics again",
                self.mean[band], self.std[band]
            ))),
            None => Ok(()),
        }
    }

    /// Normalizes in place: x ← (x − mean) / std.
    pub fn apply(&self, features: &mut Features) {
        for frame in features.data.chunks_exact_mut(BANDS) {
            for ((x, mean), std) in frame.iter_mut().zip(&self.mean).zip(&self.std) {
                *x = (*x - mean) / std;
            }
        }
    }
}

impl Normalization {
    /// Normalizes in place; `Sentence` takes its statistics from the first `valid` frames.
    pub fn apply(&self, features: &mut Features, valid: usize) {
        match self {
            Self::Global(stats) => stats.apply(features),
            Self::Sentence => {
                let mut sums = Accumulator::default();
                sums.add(&features.data[..valid.min(features.frames) * BANDS]);
                if let Some(stats) = sums.stats() {
                    stats.apply(features);
                }
            }
        }
    }
}

/// Running sums, in f64, from which [`Stats`] come.
#[derive(Debug, Clone)]
pub struct Accumulator {
    frames: u64,
    sum: [f64; BANDS],
    squares: [f64; BANDS],
}

impl Default for Accumulator {
    fn default() -> Self {
        Self { frames: 0, sum: [0.0; BANDS], squares: [0.0; BANDS] }
    }
}

impl Accumulator {
    /// Adds frames, `[n, 80]`.
    pub fn add(&mut self, frames: &[f32]) {
        for frame in frames.chunks_exact(BANDS) {
            self.frames += 1;
            for (band, &x) in frame.iter().enumerate() {
                self.sum[band] += f64::from(x);
                self.squares[band] += f64::from(x) * f64::from(x);
            }
        }
    }

    /// Adds what another one has seen; the result depends on the order of merging, bit by bit.
    pub fn merge(&mut self, other: &Self) {
        self.frames += other.frames;
        for band in 0..BANDS {
            self.sum[band] += other.sum[band];
            self.squares[band] += other.squares[band];
        }
    }

    /// The statistics so far; `None` before the first frame.
    pub fn stats(&self) -> Option<Stats> {
        if self.frames == 0 {
            return None;
        }
        let n = self.frames as f64;
        let std = |band: usize| {
            let mean = self.sum[band] / n;
            (self.squares[band] / n - mean * mean).max(0.0).sqrt().max(SMALLEST_STD) as f32
        };
        Some(Stats {
            mean: self.sum.iter().map(|s| (s / n) as f32).collect(),
            std: (0..BANDS).map(std).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::golden;
    use safetensors::SafeTensors;

    #[test]
    fn global_normalization_equals_the_golden_one() {
        let Some(bytes) = golden::bytes("common_b3") else { return };
        let tensors = SafeTensors::deserialize(&bytes).expect("a safetensors file");
        let stats = Stats {
            mean: golden::f32s(&tensors, "normalize.glob_mean").1,
            std: golden::f32s(&tensors, "normalize.glob_std").1,
        };
        stats.check().expect("sound statistics");
        let (shape, data) = golden::f32s(&tensors, "fbank");
        let mut features = Features { data, frames: shape[0] * shape[1] };
        stats.apply(&mut features);
        let expected = golden::f32s(&tensors, "norm").1;
        let error = features.data.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(error < 1e-5, "{error}");
    }

    #[test]
    fn sentence_statistics_are_zero_mean_and_unit_variance_over_the_valid_frames() {
        let mut features = Features { data: vec![0.0; 12 * BANDS], frames: 12 };
        for (i, x) in features.data.iter_mut().enumerate() {
            *x = ((i * 7919) % 1000) as f32 / 10.0 - 60.0;
        }
        features.data[10 * BANDS..].fill(500.0);
        Normalization::Sentence.apply(&mut features, 10);
        let mut sums = Accumulator::default();
        sums.add(&features.data[..10 * BANDS]);
        let stats = sums.stats().expect("ten frames");
        assert!(
            stats.mean.iter().all(|m| m.abs() < 1e-5) && stats.std.iter().all(|s| (s - 1.0).abs() < 1e-4)
        );
    }

    #[test]
    fn a_constant_band_has_the_smallest_deviation_and_no_frames_have_none() {
        let mut sums = Accumulator::default();
        assert!(sums.stats().is_none());
        sums.add(&[-100.0; 5 * BANDS]);
        let stats = sums.stats().expect("five frames");
        assert_eq!((stats.mean[3], stats.std[3]), (-100.0, 1e-10));
        assert!(Stats { mean: vec![0.0; 3], ..Stats::identity() }.check().is_err());
        assert!(Stats { std: vec![f32::NAN; BANDS], ..Stats::identity() }.check().is_err());
    }
}
