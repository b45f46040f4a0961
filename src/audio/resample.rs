//! Change of the sample rate, by a windowed sinc in polyphase form.
//!
//! With f half of the lower rate: flat within 0.1 dB up to 0.925 f, below −90 dB from 1.075 f on.

use std::sync::{Arc, Mutex, PoisonError};

use crate::error::{Error, Result};

/// Pass band and stop band, as shares of half the lower rate.
const PASS: f64 = 0.925;
const STOP: f64 = 1.075;
/// Attenuation of the stop band that the filter's window is made for, in dB.
const ATTENUATION: f64 = 97.0;
/// Positions between two samples that a filter is computed for; finer ones lie on lines between these, which
/// is wrong by (π / 1024)² / 8 of the amplitude, −118 dB.
const PHASES: usize = 1024;
/// From this ratio on, a short filter first takes the rate down by a whole number.
const TWO_STAGES: u32 = 4;
/// Samples that are filtered at a time, so that long waveforms are not copied whole.
const BLOCK: usize = 8192;
/// Sums of a dot product that are independent of each other, for the CPU's vectors.
const LANES: usize = 16;
/// Filters that are kept.
const KEPT: usize = 16;

/// The waveform at rate `to` instead of `from` (both in Hz): round(n · to / from) samples, delay removed.
///
/// # Errors
/// When a rate is 0.
pub fn resample(samples: &[f32], from: u32, to: u32) -> Result<Vec<f32>> {
    let mut resampler = Resampler::new(from, to)?;
    let mut waveform = resampler.push(samples)?;
    waveform.extend(resampler.finish()?);
    Ok(waveform)
}

/// Changes the rate of a waveform that comes in pieces, however it is cut.
pub struct Resampler {
    from: u32,
    to: u32,
    /// None where the rate stays, two where it falls far.
    stages: Vec<Stage>,
    /// Samples received and given back.
    received: u64,
    given: u64,
}

impl Resampler {
    /// From rate `from` to rate `to`, both in Hz.
    ///
    /// # Errors
    /// When a rate is 0.
    pub fn new(from: u32, to: u32) -> Result<Self> {
        if from == 0 || to == 0 {
            return Err(Error::invalid(format!(
                "cannot resample from {from} Hz to {to} Hz: give rates above 0"
            )));
        }
        let mut stages = Vec::new();
        if from != to {
            let (rate, edge) = (f64::from(from), 0.5 * f64::from(from.min(to)));
            let factor = if from / to >= TWO_STAGES { from / to / 2 } else { 1 };
            if factor > 1 {
                // What would fold back below the next stage's stop band has to go, nothing else.
                let stop = rate / f64::from(factor) - STOP * edge;
                stages.push(Stage::new(factor, 1, PASS * edge / rate, stop / rate));
            }
            let rate = rate / f64::from(factor);
            let divisor = greatest_common_divisor(u64::from(from), u64::from(to) * u64::from(factor));
            let step = u64::from(from) / divisor;
            let parts = u64::from(to) * u64::from(factor) / divisor;
            stages.push(Stage::new(step as u32, parts as u32, PASS * edge / rate, STOP * edge / rate));
        }
        Ok(Self { from, to, stages, received: 0, given: 0 })
    }

    /// The samples that `samples` complete.
    ///
    /// # Errors
    /// None that the caller can cause.
    pub fn push(&mut self, samples: &[f32]) -> Result<Vec<f32>> {
        self.received += samples.len() as u64;
        let waveform = self.filter(samples);
        self.given += waveform.len() as u64;
        Ok(waveform)
    }

    /// The last samples; nothing comes after them.
    ///
    /// # Errors
    /// None that the caller can cause.
    pub fn finish(mut self) -> Result<Vec<f32>> {
        let length = (self.received as f64 * f64::from(self.to) / f64::from(self.from)).round() as u64;
        let wanted = length.saturating_sub(self.given) as usize;
        let mut waveform = Vec::with_capacity(wanted);
        while waveform.len() < wanted {
            waveform.extend(self.filter(&[0.0; BLOCK]));
        }
        waveform.truncate(wanted);
        Ok(waveform)
    }

    fn filter(&mut self, samples: &[f32]) -> Vec<f32> {
        let [first, rest @ ..] = &mut self.stages[..] else { return samples.to_vec() };
        let expected = samples.len() as f64 * f64::from(self.to) / f64::from(self.from);
        let mut waveform = Vec::with_capacity(expected as usize + 1);
        let mut between = Vec::new();
        for block in samples.chunks(BLOCK) {
            let Some(second) = rest.first_mut() else {
                first.push(block, &mut waveform);
                continue;
            };
            between.clear();
            first.push(block, &mut between);
            second.push(&between, &mut waveform);
        }
        waveform
    }
}

/// One filter at work: output j is the waveform at j · step / parts samples.
struct Stage {
    step: usize,
    parts: usize,
    filter: Arc<Filter>,
    /// Samples from the next window's first on, or before it.
    pending: Vec<f32>,
    /// The next window's first sample in `pending`, and how far the output is behind the window's middle, in
    /// parts of a sample.
    start: usize,
    part: usize,
}

impl Stage {
    /// `pass` and `stop` in cycles a sample of the input.
    fn new(step: u32, parts: u32, pass: f64, stop: f64) -> Self {
        let filter = Filter::kept(parts as usize, pass, stop);
        // Before the first sample there is silence.
        let pending = vec![0.0; filter.taps / 2 - 1];
        Self { step: step as usize, parts: parts as usize, filter, pending, start: 0, part: 0 }
    }

    fn push(&mut self, samples: &[f32], waveform: &mut Vec<f32>) {
        self.pending.extend_from_slice(samples);
        while let Some(window) = self.pending.get(self.start..self.start + self.filter.taps) {
            waveform.push(self.filter.at(window, self.part, self.parts));
            self.part += self.step;
            self.start += self.part / self.parts;
            self.part %= self.parts;
        }
        let done = self.start.min(self.pending.len());
        self.pending.drain(..done);
        self.start -= done;
    }
}

/// A low-pass at positions between two samples.
struct Filter {
    key: (usize, [u64; 2]),
    /// Taps of a position, a multiple of `LANES`; the window's middle lies behind half of them.
    taps: usize,
    /// `[positions, taps]`; the last row is a whole sample on where positions are interpolated.
    rows: Vec<f32>,
}

impl Filter {
    /// Computed anew only if it is not among those that were used lately: a row has a Bessel function a tap.
    fn kept(parts: usize, pass: f64, stop: f64) -> Arc<Self> {
        static FILTERS: Mutex<Vec<Arc<Filter>>> = Mutex::new(Vec::new());
        let key = (parts, [pass.to_bits(), stop.to_bits()]);
        let mut filters = FILTERS.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(filter) = filters.iter().find(|filter| filter.key == key) {
            return filter.clone();
        }
        let filter = Arc::new(Self { key, ..Self::new(parts, pass, stop) });
        if filters.len() == KEPT {
            filters.remove(0);
        }
        filters.push(filter.clone());
        filter
    }

    /// Kaiser's window over a sinc; see Oppenheim and Schafer, section 7.5.
    fn new(parts: usize, pass: f64, stop: f64) -> Self {
        let half = (ATTENUATION - 7.95) / (14.36 * (stop - pass)) / 2.0;
        let taps = (2 * half.ceil() as usize).next_multiple_of(LANES);
        let beta = 0.1102 * (ATTENUATION - 8.7);
        let cutoff = pass + stop;
        let positions = if parts <= PHASES { parts } else { PHASES };
        let count = if parts <= PHASES { parts } else { PHASES + 1 };
        let mut rows = Vec::with_capacity(count * taps);
        for position in 0..count {
            let middle = (taps / 2 - 1) as f64 + position as f64 / positions as f64;
            let row: Vec<f64> = (0..taps)
                .map(|tap| {
                    let at = tap as f64 - middle;
                    let edge = 1.0 - (at / half).powi(2);
                    if edge <= 0.0 { 0.0 } else { sinc(cutoff * at) * bessel(beta * edge.sqrt()) }
                })
                .collect();
            // Each position passes a constant alike, so that a constant stays one.
            let sum: f64 = row.iter().sum();
            rows.extend(row.iter().map(|value| (value / sum) as f32));
        }
        Self { key: (0, [0; 2]), taps, rows }
    }

    fn at(&self, window: &[f32], part: usize, parts: usize) -> f32 {
        let row = |position: usize| &self.rows[position * self.taps..(position + 1) * self.taps];
        if parts <= PHASES {
            return dot(row(part), window);
        }
        let position = part as f64 * PHASES as f64 / parts as f64;
        let (below, share) = (position as usize, position.fract() as f32);
        let (low, high) = (dot(row(below), window), dot(row(below + 1), window));
        low + (high - low) * share
    }
}

/// The dot product, with the same bits on every processor: those of one lane are added up, then the lanes.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx") {
        // SAFETY: the processor has AVX.
        return unsafe { dot_avx(a, b) };
    }
    dot_plain(a, b)
}

/// The compiler makes one multiplication after the other of the plain form.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx")]
fn dot_avx(a: &[f32], b: &[f32]) -> f32 {
    use std::arch::x86_64::{
        _mm256_add_ps, _mm256_loadu_ps, _mm256_mul_ps, _mm256_setzero_ps, _mm256_storeu_ps,
    };
    let (mut low, mut high) = (_mm256_setzero_ps(), _mm256_setzero_ps());
    for (a, b) in a.as_chunks::<LANES>().0.iter().zip(b.as_chunks::<LANES>().0) {
        let ((a_low, a_high), (b_low, b_high)) = (a.split_at(8), b.split_at(8));
        // SAFETY: each half has eight numbers.
        unsafe {
            let product = _mm256_mul_ps(_mm256_loadu_ps(a_low.as_ptr()), _mm256_loadu_ps(b_low.as_ptr()));
            low = _mm256_add_ps(low, product);
            let product = _mm256_mul_ps(_mm256_loadu_ps(a_high.as_ptr()), _mm256_loadu_ps(b_high.as_ptr()));
            high = _mm256_add_ps(high, product);
        }
    }
    let mut sums = [0f32; LANES];
    let (first, second) = sums.split_at_mut(8);
    // SAFETY: each half has room for eight numbers.
    unsafe {
        _mm256_storeu_ps(first.as_mut_ptr(), low);
        _mm256_storeu_ps(second.as_mut_ptr(), high);
    }
    sums.iter().sum()
}

fn dot_plain(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0f32; LANES];
    for (a, b) in a.chunks_exact(LANES).zip(b.chunks_exact(LANES)) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += a * b;
        }
    }
    sums.iter().sum()
}

fn sinc(x: f64) -> f64 {
    let x = x * std::f64::consts::PI;
    if x.abs() < 1e-12 { 1.0 } else { x.sin() / x }
}

/// The modified Bessel function of the first kind of order 0.
fn bessel(x: f64) -> f64 {
    let (mut sum, mut term) = (1.0, 1.0);
    for k in 1..64 {
        term *= (x / (2.0 * f64::from(k))).powi(2);
        sum += term;
        if term < 1e-12 * sum {
            break;
        }
    }
    sum
}

fn greatest_common_divisor(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use std::f64::consts::TAU;

    use super::*;

    const RATES: [u32; 17] = [
        8000, 11_025, 11_999, 12_000, 22_050, 24_000, 32_000, 37_800, 44_100, 47_999, 48_000, 88_200, 96_000,
        176_400, 192_000, 352_800, 384_000,
    ];

    fn tone(rate: u32, hertz: f64, samples: usize) -> Vec<f32> {
        (0..samples).map(|i| (0.5 * (i as f64 * hertz / f64::from(rate) * TAU).sin()) as f32).collect()
    }

    fn decibels(share: f64) -> f64 {
        20.0 * share.max(1e-12).log10()
    }

    /// Gain of a tone of `hertz`, and everything else that the output has, in dB of the tone.
    fn response(from: u32, to: u32, hertz: f64) -> (f64, f64) {
        let output = resample(&tone(from, hertz, (from / 20) as usize), from, to).expect("a waveform");
        let kept = &output[output.len() / 4..output.len() * 3 / 4];
        // Least squares of sine and cosine: over a part of a period they are not orthogonal.
        let angle = |i: usize| (i as f64 * hertz / f64::from(to) * TAU).sin_cos();
        let [mut ss, mut sc, mut cc, mut ys, mut yc, mut yy] = [0.0f64; 6];
        for (i, &y) in kept.iter().enumerate() {
            let ((s, c), y) = (angle(i), f64::from(y));
            (ss, sc, cc) = (ss + s * s, sc + s * c, cc + c * c);
            (ys, yc, yy) = (ys + y * s, yc + y * c, yy + y * y);
        }
        let determinant = ss * cc - sc * sc;
        let (a, b) = ((ys * cc - yc * sc) / determinant, (yc * ss - ys * sc) / determinant);
        let rest: f64 = kept
            .iter()
            .enumerate()
            .map(|(i, &y)| {
                let (s, c) = angle(i);
                (f64::from(y) - a * s - b * c).powi(2)
            })
            .sum();
        let tone = 0.125 * kept.len() as f64;
        let in_band = hertz < 0.5 * f64::from(to);
        let other = if in_band { rest } else { yy };
        (decibels((a * a + b * b).sqrt() / 0.5), decibels((other / tone).sqrt()))
    }

    #[test]
    fn every_rate_keeps_the_pass_band_and_nothing_else() {
        for (from, to) in
            RATES.map(|rate| (rate, 16_000)).into_iter().chain([(16_000, 48_000), (16_000, 8000)])
        {
            let edge = 0.5 * f64::from(from.min(to));
            let pass = [0.01, 0.3, 0.6, 0.8, 0.88, 0.925].map(|share| response(from, to, share * edge));
            let ripple = pass.iter().map(|(gain, _)| gain.abs()).fold(0.0, f64::max);
            // Images of the tones, where the rate rises; rounding, where it falls.
            let images = pass.iter().map(|&(_, rest)| rest).fold(-200.0, f64::max);
            let highest = 0.5 * f64::from(from) - 1.0;
            let stop = [1.075, 1.1, 1.2, 1.5, 1.9, 2.0, 2.075, 3.0, 3.9, 5.1, 7.9, 11.0, 21.0];
            let aliases = stop
                .iter()
                .map(|share| share * edge)
                .chain([highest])
                .filter(|&hertz| hertz <= highest && hertz >= 1.075 * edge)
                .map(|hertz| response(from, to, hertz).1)
                .fold(-200.0, f64::max);
            eprintln!(
                "{from} Hz to {to} Hz: ripple {ripple:.4} dB, images {images:.1} dB, aliases {aliases:.1} dB"
            );
            assert!(ripple < 0.1 && images < -90.0 && aliases < -90.0, "{from} Hz to {to} Hz");
        }
    }

    #[test]
    fn a_sine_keeps_its_phase_and_length() {
        for from in RATES {
            let waveform = tone(from, 500.0, from as usize / 4 + 7);
            let output = resample(&waveform, from, 16_000).expect("a waveform");
            let length = (waveform.len() as f64 * 16_000.0 / f64::from(from)).round() as usize;
            assert_eq!(output.len(), length, "{from}");
            let expected = tone(16_000, 500.0, length);
            let error = (400..length - 400).map(|i| (output[i] - expected[i]).abs()).fold(0.0, f32::max);
            assert!(error < 1e-4, "{from} Hz: {error}");
        }
    }

    #[test]
    fn pieces_of_any_size_are_the_same_wave() {
        for from in [8000, 16_000, 44_100, 47_999, 192_000] {
            let waveform: Vec<f32> = (0..20_001).map(|i| ((i * i) as f32 * 1e-4).sin()).collect();
            let whole = resample(&waveform, from, 16_000).expect("a waveform");
            for size in [1, 333, 1026, 9000] {
                let mut resampler = Resampler::new(from, 16_000).expect("rates");
                let mut pieces: Vec<f32> =
                    waveform.chunks(size).flat_map(|piece| resampler.push(piece).expect("a piece")).collect();
                pieces.extend(resampler.finish().expect("the end"));
                assert!(pieces == whole, "{from} Hz, {size}");
            }
        }
    }

    #[test]
    fn products_have_the_same_bits_on_every_processor() {
        let waveform = |scale: f32| -> Vec<f32> { (0..272).map(|i| (i as f32 * scale).sin()).collect() };
        let (a, b) = (waveform(0.7), waveform(1.3));
        for length in [0, 16, 32, 272] {
            let (a, b) = (&a[..length], &b[..length]);
            assert_eq!(dot(a, b).to_bits(), dot_plain(a, b).to_bits(), "{length}");
        }
    }

    #[test]
    fn edges() {
        assert_eq!(resample(&[], 8000, 16_000).expect("nothing"), Vec::<f32>::new());
        assert_eq!(resample(&[0.5], 8000, 16_000).expect("a waveform").len(), 2);
        assert_eq!(resample(&[0.25, 0.5], 16_000, 16_000).expect("the same"), [0.25, 0.5]);
        assert!(resample(&[0.5], 0, 16_000).is_err());
        assert_eq!(resample(&[0.5; 767_999], 767_999, 16_000).expect("an odd rate").len(), 16_000);
    }
}
