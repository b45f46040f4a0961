//! Change of the sample rate.

use rubato::audioadapter_buffers::direct::InterleavedSlice;
use rubato::{Fft, FixedSync, Indexing, Resampler as _, WindowFunction};

use crate::error::{Error, Result};

const SHORTEST_CHUNK: u32 = 1024;

/// The wave at rate `to` instead of `from` (both in Hz): round(n · to / from) samples, delay removed.
///
/// # Errors
/// When a rate is 0.
pub fn resample(samples: &[f32], from: u32, to: u32) -> Result<Vec<f32>> {
    let mut resampler = Resampler::new(from, to)?;
    let mut wave = resampler.push(samples)?;
    wave.extend(resampler.finish()?);
    Ok(wave)
}

/// Changes the rate of a wave that comes in pieces, however it is cut.
pub struct Resampler {
    from: u32,
    to: u32,
    /// `None` where the rate stays.
    fft: Option<Fft<f32>>,
    /// Samples that wait for the rest of their chunk.
    held: Vec<f32>,
    /// Samples received and given back.
    received: usize,
    given: usize,
    /// Samples of the delay that are still to be left out.
    delay: usize,
}

impl Resampler {
    /// From rate `from` to rate `to`, both in Hz.
    ///
    /// # Errors
    /// When a rate is 0.
    pub fn new(from: u32, to: u32) -> Result<Self> {
        let mut resampler = Self { from, to, fft: None, held: Vec::new(), received: 0, given: 0, delay: 0 };
        if from != to {
            // The filter's delay is half a chunk: an odd chunk would shift the wave by half a sample.
            let unit = (from / greatest_common_divisor(from, to).max(1)).max(1);
            let chunk = (unit * SHORTEST_CHUNK.div_ceil(unit).next_multiple_of(2)) as usize;
            let window = WindowFunction::BlackmanHarris2;
            let both = FixedSync::Both;
            let fft = Fft::<f32>::new_custom(from as usize, to as usize, chunk, 1, 1, window, both)
                .map_err(|error| resampler.failed(error))?;
            resampler.delay = fft.output_delay();
            resampler.fft = Some(fft);
        }
        Ok(resampler)
    }

    fn failed(&self, reason: impl std::fmt::Display) -> Error {
        Error::invalid(format!("cannot resample from {} Hz to {} Hz: {reason}", self.from, self.to))
    }

    /// The samples that `samples` complete.
    ///
    /// # Errors
    /// None that the caller can cause.
    pub fn push(&mut self, samples: &[f32]) -> Result<Vec<f32>> {
        self.received += samples.len();
        let Some(chunk) = self.fft.as_ref().map(rubato::Resampler::input_frames_next) else {
            return Ok(samples.to_vec());
        };
        let mut held = std::mem::take(&mut self.held);
        held.extend_from_slice(samples);
        let mut wave = Vec::new();
        let mut chunks = held.chunks_exact(chunk);
        for part in chunks.by_ref() {
            self.advance(part, &mut wave)?;
        }
        self.held = chunks.remainder().to_vec();
        self.given += wave.len();
        Ok(wave)
    }

    /// The last samples; nothing comes after them.
    ///
    /// # Errors
    /// None that the caller can cause.
    pub fn finish(mut self) -> Result<Vec<f32>> {
        if self.fft.is_none() {
            return Ok(Vec::new());
        }
        let length = (self.received as f64 * f64::from(self.to) / f64::from(self.from)).round() as usize;
        let (mut rest, mut wave) = (std::mem::take(&mut self.held), Vec::new());
        let wanted = length.saturating_sub(self.given);
        while wave.len() < wanted {
            self.advance(&rest, &mut wave)?;
            rest.clear();
        }
        wave.truncate(wanted);
        Ok(wave)
    }

    /// Resamples a chunk, which silence makes whole, to the end of `wave`.
    fn advance(&mut self, part: &[f32], wave: &mut Vec<f32>) -> Result<()> {
        let resampled = match &mut self.fft {
            Some(fft) => InterleavedSlice::new(part, 1, part.len())
                .map_err(|error| error.to_string())
                .and_then(|input| {
                    let whole = Indexing::new().partial_len(part.len());
                    fft.process(&input, Some(&whole)).map_err(|error| error.to_string())
                })
                .map(rubato::audioadapter_buffers::owned::InterleavedOwned::take_data),
            None => Ok(part.to_vec()),
        };
        let resampled = resampled.map_err(|error| self.failed(error))?;
        let left_out = self.delay.min(resampled.len());
        self.delay -= left_out;
        wave.extend_from_slice(&resampled[left_out..]);
        Ok(())
    }
}

fn greatest_common_divisor(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sine_keeps_its_phase_and_length() {
        for from in [8000u32, 11_025, 11_999, 22_050, 44_100, 48_000] {
            let sine = |rate: u32, i: usize| (i as f32 * 500.0 / rate as f32 * std::f32::consts::TAU).sin();
            let wave: Vec<f32> = (0..from as usize + 7).map(|i| sine(from, i)).collect();
            let output = resample(&wave, from, 16_000).expect("a wave");
            let length = (wave.len() as f64 * 16_000.0 / f64::from(from)).round() as usize;
            assert_eq!(output.len(), length, "{from}");
            let error = (800..length - 800).map(|i| (output[i] - sine(16_000, i)).abs()).fold(0.0, f32::max);
            assert!(error < 1e-3, "{from} Hz: {error}");
        }
    }

    #[test]
    fn pieces_of_any_size_are_the_same_wave() {
        for from in [16_000, 44_100, 48_000] {
            let wave: Vec<f32> = (0..9001).map(|i| ((i * i) as f32 * 1e-4).sin()).collect();
            let whole = resample(&wave, from, 16_000).expect("a wave");
            for size in [1, 333, 1026, 5000] {
                let mut resampler = Resampler::new(from, 16_000).expect("rates");
                let mut pieces: Vec<f32> =
                    wave.chunks(size).flat_map(|piece| resampler.push(piece).expect("a piece")).collect();
                pieces.extend(resampler.finish().expect("the end"));
                assert!(pieces == whole, "{from} Hz, {size}");
            }
        }
    }

    #[test]
    fn edges() {
        assert_eq!(resample(&[], 8000, 16_000).expect("nothing"), Vec::<f32>::new());
        assert_eq!(resample(&[0.5], 8000, 16_000).expect("a wave").len(), 2);
        assert_eq!(resample(&[0.25, 0.5], 16_000, 16_000).expect("the same"), [0.25, 0.5]);
        assert!(resample(&[0.5], 0, 16_000).is_err());
    }
}
