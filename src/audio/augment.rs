//! Augmentation of the waveform: speed, notched frequency bands, zeroed chunks, noise, gain.

use serde::{Deserialize, Serialize};

use super::features::SAMPLE_RATE;
use super::resample::resample;
use crate::error::{Error, Result};
use crate::rng::Rng;

const NOTCH_TAPS: usize = 101;
/// Centres stay this far (as a share of the Nyquist frequency) from 0 and the Nyquist frequency.
const NOTCH_MARGIN: f64 = 0.05;

/// Octaves of pink noise, from half the sampling rate down.
const PINK_OCTAVES: usize = 12;

/// Settings of the augmentations of CTC fine-tuning, applied to every copy in this order: speed, notched
/// frequency bands, zeroed chunks, noise, gain. Ranges are inclusive.
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
    /// The power of the waveform, of which silence is a part, over that of the noise that is added, in dB; white and pink
    /// noise are as likely. `None` adds none.
    pub noise_db: Option<[f64; 2]>,
    /// Gain in dB; `None` is 0 dB. Nothing is clipped.
    pub gain_db: Option<[f64; 2]>,
}

impl Default for Augmentation {
    fn default() -> Self {
        Self {
            speeds: vec![95, 100, 105],
            bands: [1, 3],
            band_width: 0.05,
            chunks: [1, 5],
            chunk_samples: [1000, 2000],
            noise_db: None,
            gain_db: None,
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
        for (key, decibels) in [("noise_db", self.noise_db), ("gain_db", self.gain_db)] {
            if let Some([low, high]) =
                decibels.filter(|[low, high]| !(-100.0 <= *low && low <= high && *high <= 100.0))
            {
                return Err(Error::invalid(format!(
                    "{key} = [{low}, {high}]: give two values from -100 to 100 dB, the smaller first"
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
        if let Some(ratio) = self.noise_db {
            add_noise(&mut waveform, decibels(ratio, rng), rng);
        }
        if let Some(gain) = self.gain_db {
            let factor = 10f64.powf(decibels(gain, rng) / 20.0) as f32;
            waveform.iter_mut().for_each(|x| *x *= factor);
        }
        Ok(waveform)
    }
}

fn between([low, high]: [usize; 2], rng: &mut Rng) -> usize {
    low + rng.below(high.saturating_sub(low) + 1)
}

fn decibels([low, high]: [f64; 2], rng: &mut Rng) -> f64 {
    low + (high - low) * f64::from(rng.unit())
}

/// Adds noise of a power `ratio` dB below that of the waveform; to silence, none.
fn add_noise(waveform: &mut [f32], ratio: f64, rng: &mut Rng) {
    let energy = |samples: &[f32]| samples.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>();
    let pink = rng.below(2) == 1;
    let noise = if pink { pink_noise(waveform.len(), rng) } else { white_noise(waveform.len(), rng) };
    let (signal, power) = (energy(waveform), energy(&noise));
    if power > 0.0 {
        let factor = (signal / power / 10f64.powf(ratio / 10.0)).sqrt() as f32;
        waveform.iter_mut().zip(noise).for_each(|(x, noise)| *x += factor * noise);
    }
}

fn white_noise(samples: usize, rng: &mut Rng) -> Vec<f32> {
    (0..samples).map(|_| rng.normal() as f32).collect()
}

/// A power that falls by 3 dB an octave (Voss and McCartney): a sum of values, each of which holds twice as long as the
/// one before.
fn pink_noise(samples: usize, rng: &mut Rng) -> Vec<f32> {
    let mut held = [0.0; PINK_OCTAVES];
    held.iter_mut().for_each(|value| *value = rng.normal());
    let mut next = |at: usize| {
        // Every second sample changes the first, every fourth the second, and so on.
        let octave = (at as u32 + 1).trailing_zeros() as usize;
        held[octave.min(PINK_OCTAVES - 1)] = rng.normal();
        (held.iter().sum::<f64>() + rng.normal()) as f32
    };
    (0..samples).map(&mut next).collect()
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
    fn noise_has_its_ratio_and_gain_its_factor() {
        let waveform = sine(0.1, 16_000);
        let plain = Augmentation { speeds: vec![100], bands: [0, 0], chunks: [0, 0], ..Default::default() };
        let noisy = Augmentation { noise_db: Some([20.0, 20.0]), ..plain.clone() };
        let energy = |samples: &[f32]| samples.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>();
        // Of equal power, pink noise has less of it between neighbors.
        let mut steps = Vec::new();
        for seed in 0..20 {
            let copy = noisy.apply(&waveform, &mut Rng::new(&[seed])).expect("a copy");
            let noise: Vec<f32> = copy.iter().zip(&waveform).map(|(x, y)| x - y).collect();
            let ratio = 10.0 * (energy(&waveform) / energy(&noise)).log10();
            assert!((ratio - 20.0).abs() < 0.01, "{ratio}");
            let step: Vec<f32> = noise.windows(2).map(|pair| pair[1] - pair[0]).collect();
            steps.push(energy(&step) / energy(&noise));
        }
        assert!(steps.iter().all(|step| (1.9..2.1).contains(step) || *step < 0.8), "{steps:?}");
        assert!(steps.iter().any(|&step| step > 1.0) && steps.iter().any(|&step| step < 1.0), "{steps:?}");
        assert!(
            noisy.apply(&[0.0; 500], &mut Rng::new(&[1])).expect("a copy").iter().all(|&x| x == 0.0),
            "silence stays"
        );

        let loud = Augmentation { gain_db: Some([-6.0, -6.0]), ..plain.clone() };
        let copy = loud.apply(&waveform, &mut Rng::new(&[1])).expect("a copy");
        assert!(copy.iter().zip(&waveform).all(|(x, y)| (x - 0.501_187_2 * y).abs() < 1e-6));
        let drawn = Augmentation { gain_db: Some([-18.0, 6.0]), ..plain };
        for seed in 0..50 {
            let copy = drawn.apply(&waveform, &mut Rng::new(&[seed])).expect("a copy");
            let gain = 10.0 * (energy(&copy) / energy(&waveform)).log10();
            assert!((-18.01..6.01).contains(&gain), "{gain}");
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
        wrong(Augmentation { noise_db: Some([20.0, 10.0]), ..Default::default() }, "noise_db");
        wrong(Augmentation { gain_db: Some([0.0, f64::NAN]), ..Default::default() }, "gain_db");
        wrong(Augmentation { band_width: f64::NAN, ..Default::default() }, "band_width");
        Augmentation::default().check().expect("the defaults are right");
    }
}
