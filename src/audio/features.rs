//! Log-mel filter-bank energies.

use std::ops::Range;
use std::sync::Arc;

use rustfft::algorithm::butterflies::{Butterfly5, Butterfly8};
use rustfft::algorithm::{GoodThomasAlgorithmSmall, MixedRadixSmall};
use rustfft::{Fft, FftDirection, num_complex::Complex64};

/// Sample rate of every waveform, in Hz.
pub const SAMPLE_RATE: u32 = 16_000;
/// Mel bands of a frame.
pub const BANDS: usize = 80;
/// Samples from one frame to the next (10 ms).
pub const HOP: usize = 160;

pub(super) const WINDOW: usize = 400;
/// Samples of a frame at and after its center, and as many before it.
pub(super) const LOOK_AHEAD: usize = WINDOW / 2;
const BINS: usize = WINDOW / 2 + 1;
const HIGHEST_HZ: f64 = 8000.0;
const SMALLEST_POWER: f64 = 1e-10;
const RANGE_DB: f64 = 80.0;
/// Decibels of a power are so many times its natural logarithm.
const DECIBELS: f64 = 10.0 / std::f64::consts::LN_10;

/// Frames of a waveform of `samples` samples: ⌊samples / 160⌋ + 1.
pub fn frame_count(samples: usize) -> usize {
    samples / HOP + 1
}

/// Energies (or normalized energies) of one utterance.
#[derive(Debug, Clone, PartialEq)]
pub struct Features {
    /// `[frames, 80]`, row-major, in dB before normalization.
    pub data: Vec<f32>,
    /// Number of frames, 10 ms each.
    pub frames: usize,
}

/// The log-mel transform with its window, FFT plan and filter bank.
///
/// Frames of 25 ms every 10 ms, centered on multiples of 160 samples (200 zeros are put at either end),
/// a periodic Hamming window, the power spectrum |X|² of 201 bins, 80 triangular bands, then
/// 10·log₁₀(max(x, 1e-10)), floored at the utterance's maximum − 80 dB.
#[derive(Clone)]
pub struct LogMel {
    window: Vec<f64>,
    fft: Arc<dyn Fft<f64>>,
    /// −i/2 · e^(−2πik/400) for k to 100: what turns the odd samples' spectrum to its place beside the even ones'.
    turns: Vec<Complex64>,
    bands: Vec<Band>,
}

/// The non-zero part of one mel filter: weights of the bins from `first` on.
#[derive(Clone)]
struct Band {
    first: usize,
    weights: Vec<f64>,
}

/// The transform of half a window, 200 = 8 · 5 · 5: samples are real, so that two make a number. A planner would bring all
/// lengths along, which browsers have to fetch.
fn fft() -> Arc<dyn Fft<f64>> {
    let five = || Arc::new(Butterfly5::<f64>::new(FftDirection::Forward));
    let eight = Arc::new(Butterfly8::<f64>::new(FftDirection::Forward));
    Arc::new(GoodThomasAlgorithmSmall::new(eight, Arc::new(MixedRadixSmall::<f64>::new(five(), five()))))
}

impl Default for LogMel {
    fn default() -> Self {
        Self::new()
    }
}

impl LogMel {
    /// Plans the transform.
    pub fn new() -> Self {
        let phase = |i: usize| std::f64::consts::TAU * i as f64 / WINDOW as f64;
        Self {
            window: (0..WINDOW).map(|i| 0.54 - 0.46 * phase(i).cos()).collect(),
            fft: fft(),
            turns: (0..=WINDOW / 4).map(|k| Complex64::new(0.0, -0.5) * Complex64::cis(-phase(k))).collect(),
            bands: filter_bank(),
        }
    }

    /// The energies in dB of a 16 kHz waveform, `[⌊samples / 160⌋ + 1, 80]`.
    pub fn compute(&self, samples: &[f32]) -> Features {
        let frames = frame_count(samples.len());
        let decibels = self.decibels(samples, 0, 0..frames);
        let floor = decibels.iter().copied().fold(f64::NEG_INFINITY, f64::max) - RANGE_DB;
        Features { data: decibels.into_iter().map(|db| db.max(floor) as f32).collect(), frames }
    }

    /// The energies of some frames, without the floor that follows from the utterance's maximum: a frame
    /// depends on the samples under it alone. `samples` begin at sample `first`; there is silence around
    /// them.
    pub fn frames(&self, samples: &[f32], first: usize, frames: Range<usize>) -> Features {
        let count = frames.len();
        let decibels = self.decibels(samples, first, frames);
        Features { data: decibels.into_iter().map(|db| db as f32).collect(), frames: count }
    }

    fn decibels(&self, samples: &[f32], first: usize, frames: Range<usize>) -> Vec<f64> {
        let mut decibels = Vec::with_capacity(frames.len() * BANDS);
        let mut half = vec![Complex64::default(); WINDOW / 2];
        let mut scratch = vec![Complex64::default(); self.fft.get_inplace_scratch_len()];
        let mut powers = [0.0; BINS];
        for frame in frames {
            // Samples of the frame that come before `samples`, and the first of the others.
            let (begin, before) = (frame * HOP, LOOK_AHEAD + first);
            let (missing, from) = (before.saturating_sub(begin).min(WINDOW), begin.saturating_sub(before));
            let mut windowed = [0.0; WINDOW];
            let given = samples.get(from..).unwrap_or_default();
            for ((to, &sample), weight) in
                windowed[missing..].iter_mut().zip(given).zip(&self.window[missing..])
            {
                *to = f64::from(sample) * weight;
            }
            for (number, pair) in half.iter_mut().zip(windowed.as_chunks::<2>().0) {
                *number = Complex64::new(pair[0], pair[1]);
            }
            self.fft.process_with_scratch(&mut half, &mut scratch);
            self.powers(&half, &mut powers);
            decibels.extend(self.bands.iter().map(|band| {
                let bins = &powers[band.first..band.first + band.weights.len()];
                let power: f64 = bins.iter().zip(&band.weights).map(|(x, w)| x * w).sum();
                DECIBELS * power.max(SMALLEST_POWER).ln()
            }));
        }
        decibels
    }

    /// |X|² of a window, of whose samples `half` is the transform: even ones as real, odd ones as imaginary parts.
    fn powers(&self, half: &[Complex64], powers: &mut [f64; BINS]) {
        let middle = half.len();
        powers[0] = (half[0].re + half[0].im).powi(2);
        powers[middle] = (half[0].re - half[0].im).powi(2);
        for (k, turn) in self.turns.iter().enumerate().skip(1) {
            let (low, high) = (half[k], half[middle - k].conj());
            let (even, odd) = ((low + high) * 0.5, (low - high) * turn);
            powers[k] = (even + odd).norm_sqr();
            powers[middle - k] = (even - odd).norm_sqr();
        }
    }
}

/// Triangles symmetric about their center, as wide on both sides as the distance to the center below.
fn filter_bank() -> Vec<Band> {
    let mel_of = |hz: f64| 2595.0 * (1.0 + hz / 700.0).log10();
    let hz_of = |mel: f64| 700.0 * (10f64.powf(mel / 2595.0) - 1.0);
    let point = |i: usize| hz_of(mel_of(HIGHEST_HZ) * i as f64 / (BANDS + 1) as f64);
    let band = |i: usize| {
        let (center, width) = (point(i), point(i) - point(i - 1));
        let weight = |bin: usize| {
            let rise = (bin as f64 * HIGHEST_HZ / (BINS - 1) as f64 - center) / width;
            (1.0 - rise.abs()).max(0.0)
        };
        let first = (0..BINS).find(|&bin| weight(bin) > 0.0).unwrap_or(0);
        Band { first, weights: (first..BINS).map(weight).take_while(|&w| w > 0.0).collect() }
    };
    (1..=BANDS).map(band).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::golden;
    use safetensors::SafeTensors;

    #[test]
    fn energies_equal_the_golden_ones() {
        for name in ["common_b1", "common_b3"] {
            let Some(bytes) = golden::bytes(name) else { return };
            let tensors = SafeTensors::deserialize(&bytes).expect("a safetensors file");
            let (shape, expected) = golden::f32s(&tensors, "fbank");
            for (waveform, expected) in
                golden::waveforms(&tensors).iter().zip(expected.chunks(shape[1] * BANDS))
            {
                let features = LogMel::new().compute(waveform);
                assert_eq!(features.frames, shape[1]);
                let error =
                    features.data.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                assert!(error < 1e-3, "{name}: {error} dB");
            }
        }
    }

    #[test]
    fn filters_equal_the_golden_ones() {
        let Some(bytes) = golden::bytes("common_b1") else { return };
        let tensors = SafeTensors::deserialize(&bytes).expect("a safetensors file");
        let (shape, expected) = golden::f32s(&tensors, "fbank_mel_matrix");
        assert_eq!(shape, [BINS, BANDS]);
        for (i, band) in filter_bank().iter().enumerate() {
            for bin in 0..BINS {
                let weight = bin.checked_sub(band.first).and_then(|at| band.weights.get(at));
                let difference = weight.copied().unwrap_or(0.0) - f64::from(expected[bin * BANDS + i]);
                // The golden matrix was computed in f32.
                assert!(difference.abs() < 2e-5, "band {i}, bin {bin}: {difference}");
            }
        }
    }

    #[test]
    fn silence_and_nothing_are_at_the_smallest_power() {
        let silence = LogMel::new().compute(&[0.0; 1599]);
        assert_eq!((silence.frames, silence.data.len()), (10, 800));
        assert!(silence.data.iter().all(|&db| db == -100.0));
        assert_eq!(LogMel::new().compute(&[]).frames, 1);
    }

    #[test]
    fn a_tone_is_loudest_in_its_own_band_and_nothing_lies_below_the_range() {
        let phase = |i: usize| 500.0 * std::f64::consts::TAU * i as f64 / 16_000.0;
        let mut waveform: Vec<f32> = (0..16_000).map(|i| phase(i).sin() as f32).collect();
        waveform.resize(20_000, 0.0);
        let features = LogMel::new().compute(&waveform);
        let frame = &features.data[50 * BANDS..51 * BANDS];
        let loudest = (0..BANDS).max_by(|&a, &b| frame[a].total_cmp(&frame[b])).expect("80 bands");
        // 500 Hz is 607.4 mel; the bands are 2840.0 / 81 mel apart.
        assert_eq!(loudest, 16);
        let (low, high) = features.data.iter().fold((f32::MAX, f32::MIN), |(l, h), &x| (l.min(x), h.max(x)));
        assert!((high - low - 80.0).abs() < 1e-4, "{low} {high}");
    }
}
