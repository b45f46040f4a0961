//! Checks of samples.

use super::features::WINDOW;
use crate::error::{Error, Result};

/// Float files may go over 1; nothing that was sound is this much over.
const LOUDEST: f32 = 8.0;

/// Statistics of a waveform in floats.
#[derive(Debug, Default)]
pub(super) struct Levels {
    seen: u64,
    peak: f32,
    /// Whether some sample is no whole number.
    fractions: bool,
}

impl Levels {
    /// Takes in the next samples of `channels` interleaved channels.
    ///
    /// # Errors
    /// The message, when one is not a finite number.
    pub fn push(&mut self, samples: &[f32], channels: usize) -> Result<(), String> {
        let mut peak = 0f32;
        // A sample that is not a number takes no part in `max`.
        let mut odd = false;
        for &sample in samples {
            peak = peak.max(sample.abs());
            odd |= !sample.is_finite();
        }
        if odd {
            let at = samples.iter().position(|x| !x.is_finite()).unwrap_or(0);
            return Err(format!(
                "has {} as sample {}, which is not a number of a waveform; save the audio again",
                samples[at],
                self.seen + (at / channels.max(1)) as u64
            ));
        }
        self.seen += (samples.len() / channels.max(1)) as u64;
        self.peak = self.peak.max(peak);
        if !self.fractions {
            self.fractions = samples.iter().any(|x| x.fract() != 0.0);
        }
        Ok(())
    }

    /// # Errors
    /// The message, when the samples are no waveform in [-1, 1].
    pub fn check(&self) -> Result<(), String> {
        if self.peak <= LOUDEST && (self.peak <= 1.0 || self.fractions) {
            return Ok(());
        }
        let peak = self.peak;
        let integers = [("16-bit", 32_768f32), ("24-bit", 8_388_608.0), ("32-bit", 2_147_483_648.0)];
        match integers.iter().find(|(_, full)| peak <= 2.0 * full) {
            Some((depth, full)) => Err(format!(
                "has float samples up to {peak}, the range of {depth} integers, where a waveform lies in [-1, 1]; \
                 divide them by {full} and save the audio again"
            )),
            None => Err(format!(
                "has a sample of {peak:e}, which no sound has (a waveform lies in [-1, 1]); save the audio again"
            )),
        }
    }
}

/// Whether the samples are a waveform: some, finite, nominally in [-1, 1]. Slight overs are legal.
///
/// # Errors
/// When there is no sample, one is not a finite number, or they are far outside of [-1, 1], as those of
/// integers are that were converted without being scaled.
pub fn check_waveform(samples: &[f32]) -> Result<()> {
    if samples.is_empty() {
        return Err(Error::invalid("the audio holds no samples; give a longer clip"));
    }
    let mut levels = Levels::default();
    levels
        .push(samples, 1)
        .and_then(|()| levels.check())
        .map_err(|message| Error::invalid(format!("the audio {message}")))
}

/// Checks that a waveform at 16 kHz holds the window (25 ms) of one frame; `seconds` is its length at its own rate.
///
/// # Errors
/// [`Error::Invalid`] with what it holds.
pub fn check_length(samples: usize, seconds: f64) -> Result<()> {
    if samples >= WINDOW {
        return Ok(());
    }
    let milliseconds = 1e3 * seconds;
    Err(Error::invalid(format!(
        "holds {milliseconds:.1} ms of audio, too little for one frame of 25 ms; leave it out, or give a longer clip"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(samples: &[f32]) -> String {
        check_waveform(samples).expect_err("no waveform").to_string()
    }

    #[test]
    fn waveforms_pass_and_others_are_named() {
        for waveform in [&[0.0f32][..], &[1.0, -1.0, 0.0], &[0.1, 3.5, -7.9], &[0.0; 40]] {
            assert!(check_waveform(waveform).is_ok(), "{waveform:?}");
        }
        assert!(message(&[]).contains("no samples"));
        assert!(message(&[0.1, f32::NAN]).contains("NaN as sample 1"));
        assert!(message(&[f32::NEG_INFINITY]).contains("-inf as sample 0"));
        assert!(message(&[0.25, 1200.5]).contains("divide them by 32768"));
        assert!(message(&[2.0, -3.0, 0.0]).contains("16-bit integers"));
        assert!(message(&[3e8, 0.5]).contains("32-bit"));
        assert!(message(&[0.5, 1e30, 0.5]).contains("1e30"));
    }
}
