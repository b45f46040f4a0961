//! Change of the sample rate.

use rubato::audioadapter_buffers::direct::InterleavedSlice;
use rubato::{Fft, FixedSync, Resampler, WindowFunction};

use crate::error::{Error, Result};

const SHORTEST_CHUNK: u32 = 1024;

/// The wave at rate `to` instead of `from` (both in Hz): round(n · to / from) samples, delay removed.
///
/// # Errors
/// When a rate is 0.
pub fn resample(samples: &[f32], from: u32, to: u32) -> Result<Vec<f32>> {
    if from == to || samples.is_empty() {
        return Ok(samples.to_vec());
    }
    let failed =
        |reason: String| Error::invalid(format!("cannot resample from {from} Hz to {to} Hz: {reason}"));
    // The filter's delay is half a chunk: an odd chunk would shift the wave by half a sample.
    let unit = (from / greatest_common_divisor(from, to).max(1)).max(1);
    let chunk = (unit * SHORTEST_CHUNK.div_ceil(unit).next_multiple_of(2)) as usize;
    let window = WindowFunction::BlackmanHarris2;
    let mut resampler =
        Fft::<f32>::new_custom(from as usize, to as usize, chunk, 1, 1, window, FixedSync::Both)
            .map_err(|error| failed(error.to_string()))?;
    let input =
        InterleavedSlice::new(samples, 1, samples.len()).map_err(|error| failed(error.to_string()))?;
    let output =
        resampler.process_all(&input, samples.len(), None).map_err(|error| failed(error.to_string()))?;
    let mut output = output.take_data();
    let length = (samples.len() as f64 * f64::from(to) / f64::from(from)).round() as usize;
    output.resize(length, 0.0);
    Ok(output)
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
    fn edges() {
        assert_eq!(resample(&[], 8000, 16_000).expect("nothing"), Vec::<f32>::new());
        assert_eq!(resample(&[0.5], 8000, 16_000).expect("a wave").len(), 2);
        assert_eq!(resample(&[0.25, 0.5], 16_000, 16_000).expect("the same"), [0.25, 0.5]);
        assert!(resample(&[0.5], 0, 16_000).is_err());
    }
}
