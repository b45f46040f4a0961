//! Augmentation of the waveform: speed, notched frequency bands, zeroed chunks.

use serde::{Deserialize, Serialize};

use super::features::SAMPLE_RATE;
use super::resample::resample;
use crate::error::{Error, Result};
use crate::rng::Rng;

const NOTCH_TAPS: usize = 101;
/// Centres stay this far (as a share of the Nyquist frequency) from 0 and the Nyquist frequency.
const NOTCH_MARGIN: f64 = 0.05;

/// Settings of the three augmentations of CTC fine-tuning, applied to every copy in this order: speed,
/// notched frequency bands, zeroed chunks. Ranges are inclusive.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Augmentation {
    /// Speeds to choose from, in percent; 105 makes the waveform shorter and its pitch higher.
    pub speeds: Vec<u32>,
    /// How many frequency bands are notched out.
    pub bands: [usize; 2],
    /// Half the width of a notch, as a share of the Nyquist frequency.
    pub band_width: f64,
    /// How many chunks are zeroed.
    pub chunks: [usize; 2],
    /// Length of a chunk, in samples.
    pub chunk_samples: [usize; 2],
}

impl Default for Augmentation {
    fn default() -> Self {
        Self {
            speeds: vec![95, 100, 105],
            bands: [1, 3],
            band_width: 0.05,
            chunks: [1, 5],
            chunk_samples: [1000, 2000],
        }
    }
}

impl Augmentation {
    /// Checks values that come from a recipe.
    ///
    /// # Errors
    /// When a range runs backwards or a value is out of bounds; the message names the key.
    pub fn check(&self) -> Result<()> {
        if self.speeds.is_empty() || self.speeds.iter().any(|speed| !(50..=200).contains(speed)) {
            return Err(Error::invalid(format!(
                "speeds = {:?}: give values from 50 to 200 percent",
                self.speeds
            )));
        }
        if !(self.band_width > 0.0 && self.band_width <= 0.5) {
            return Err(Error::invalid(format!(
                "band_width = {}: give a share from 0 to 0.5",
                self.band_width
            )));
        }
        for (key, [low, high]) in
            [("bands", self.bands), ("chunks", self.chunks), ("chunk_samples", self.chunk_samples)]
        {
            if low > high {
                return Err(Error::invalid(format!(
                    "{key} = [{low}, {high}]: the first must not exceed the second"
                )));
            }
        }
        Ok(())
    }

    /// The most samples that [`apply`](Self::apply) can make of `samples`.
    pub fn longest(&self, samples: usize) -> usize {
        let slowest = self.speeds.iter().copied().min().unwrap_or(100).clamp(1, 100);
        (samples as f64 * 100.0 / f64::from(slowest)).ceil() as usize
    }

    /// An augmented copy of a 16 kHz waveform; equal generators give equal copies.
    ///
    /// # Errors
    /// When a speed is 0.
    pub fn apply(&self, samples: &[f32], rng: &mut Rng) -> Result<Vec<f32>> {
        let speed = self.speeds.get(rng.below(self.speeds.len())).copied().unwrap_or(100);
        let mut waveform = resample(samples, SAMPLE_RATE / 100 * speed, SAMPLE_RATE)?;
        for _ in 0..between(self.bands, rng) {
            let center = NOTCH_MARGIN + (1.0 - 2.0 * NOTCH_MARGIN) * f64::from(rng.unit());
            waveform = convolve(&waveform, &notch(center, self.band_width));
        }
        for _ in 0..between(self.chunks, rng) {
            let length = between(self.chunk_samples, rng).min(waveform.len());
            let start = rng.below(waveform.len() - length + 1);
            waveform[start..start + length].fill(0.0);
        }
        Ok(waveform)
    }
}

fn between([low, high]: [usize; 2], rng: &mut Rng) -> usize {
    low + rng.below(high.saturating_sub(low) + 1)
}

/// A linear-phase band-stop filter: the unit impulse minus a Blackman-windowed ideal band-pass of
/// `center` ± `width`, both as shares of the Nyquist frequency.
fn notch(center: f64, width: f64) -> Vec<f32> {
    let half = (NOTCH_TAPS / 2) as i32;
    let (low, high) = ((center - width).max(0.0), (center + width).min(1.0));
    let low_pass = |cutoff: f64, n: f64| {
        if n == 0.0 { cutoff } else { (std::f64::consts::PI * cutoff * n).sin() / (std::f64::consts::PI * n) }
    };
    let tap = |n: i32| {
        let phase = std::f64::consts::PI * f64::from(n) / f64::from(half + 1);
        let window = 0.42 + 0.5 * phase.cos() + 0.08 * (2.0 * phase).cos();
        let n = f64::from(n);
        let impulse = if n == 0.0 { 1.0 } else { 0.0 };
        (impulse - window * (low_pass(high, n) - low_pass(low, n))) as f32
    };
    (-half..=half).map(tap).collect()
}

/// Convolution with a symmetric filter of odd length, output as long as the input, without delay.
fn convolve(waveform: &[f32], filter: &[f32]) -> Vec<f32> {
    let half = filter.len() / 2;
    let mut padded = vec![0.0; waveform.len() + 2 * half];
    padded[half..half + waveform.len()].copy_from_slice(waveform);
    padded.windows(filter.len()).map(|window| window.iter().zip(filter).map(|(x, w)| x * w).sum()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sine(share: f64, samples: usize) -> Vec<f32> {
        (0..samples).map(|i| (std::f64::consts::PI * share * i as f64).sin() as f32).collect()
    }

    fn power(waveform: &[f32]) -> f32 {
        waveform[200..waveform.len() - 200].iter().map(|x| x * x).sum::<f32>() / (waveform.len() - 400) as f32
    }

    #[test]
    fn a_notch_removes_its_band_and_leaves_the_others() {
        let filter = notch(0.4, 0.05);
        let gain = |share: f64| power(&convolve(&sine(share, 4000), &filter)) / 0.5;
        assert!(gain(0.4) < 0.01, "{}", gain(0.4));
        for share in [0.05, 0.2, 0.3, 0.5, 0.6, 0.9] {
            assert!((gain(share) - 1.0).abs() < 0.02, "{share}: {}", gain(share));
        }
    }

    #[test]
    fn speed_changes_the_length_and_equal_seeds_give_equal_copies() {
        let waveform = sine(0.1, 16_000);
        let plain =
            |speed| Augmentation { speeds: vec![speed], bands: [0, 0], chunks: [0, 0], ..Default::default() };
        for (speed, length) in [(95, 16_842), (100, 16_000), (105, 15_238)] {
            let copy = plain(speed).apply(&waveform, &mut Rng::new(&[1])).expect("a copy");
            assert_eq!(copy.len(), length);
            assert!(copy.len() <= plain(speed).longest(waveform.len()));
        }
        assert_eq!(plain(100).apply(&waveform, &mut Rng::new(&[1])).expect("a copy"), waveform);
        let full = Augmentation::default();
        let copy = |seed| full.apply(&waveform, &mut Rng::new(&[seed])).expect("a copy");
        assert_eq!(copy(7), copy(7));
        assert_ne!(copy(7), copy(8));
    }

    #[test]
    fn chunks_are_zeroed_and_short_waves_survive() {
        let chunks = Augmentation { speeds: vec![100], bands: [0, 0], chunks: [1, 1], ..Default::default() };
        for seed in 0..20 {
            let copy = chunks.apply(&[1.0; 8000], &mut Rng::new(&[seed])).expect("a copy");
            let zeros = copy.iter().filter(|&&x| x == 0.0).count();
            assert!((1000..=2000).contains(&zeros), "{zeros}");
        }
        for samples in [0, 1, 500] {
            Augmentation::default().apply(&vec![0.5; samples], &mut Rng::new(&[3])).expect("a copy");
        }
    }

    #[test]
    fn wrong_settings_are_named() {
        let wrong = |settings: Augmentation, key: &str| {
            let message = settings.check().expect_err("wrong settings").to_string();
            assert!(message.contains(key), "{message}");
        };
        wrong(Augmentation { speeds: vec![0], ..Default::default() }, "speeds");
        wrong(Augmentation { bands: [3, 1], ..Default::default() }, "bands");
        wrong(Augmentation { band_width: f64::NAN, ..Default::default() }, "band_width");
        Augmentation::default().check().expect("the defaults are right");
    }
}
