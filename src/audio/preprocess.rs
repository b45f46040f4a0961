//! From a waveform to the encoder's input: silence, energies, normalization, padding.

use serde::{Deserialize, Serialize};

use super::features::{BANDS, Features, HOP, LogMel, SAMPLE_RATE, frame_count};
use super::normalization::Normalization;
use crate::error::{Error, Result};

/// Feature frames in one encoder frame.
pub const STRIDE: usize = 4;

/// How utterances of different lengths share a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Padding {
    /// Every utterance is padded on the left with zeros to a multiple of 4 of its own frames, then with
    /// zeros on the right; its output does not depend on its batch.
    Masked,
    /// As `Masked`, but nothing depends on later audio, so that chunks of a stream give what the whole does:
    /// energies have no floor that follows from the utterance's maximum, and zeros stand on the right only.
    Causal,
    /// The reference's pre-training and `encode`: waveforms padded with silence to the batch's longest,
    /// energies over all of it, then zeros on the left to a multiple of 4 of the batch's frames.
    ReferencePretrain,
    /// The reference's fine-tuning: as in its pre-training, without zeros on the left.
    ReferenceFinetune,
}

impl Padding {
    /// Whether an utterance is padded by its own length, so that its features do not depend on its batch.
    pub fn by_own_length(self) -> bool {
        matches!(self, Self::Masked | Self::Causal)
    }
}

/// A padded batch.
#[derive(Debug, Clone, PartialEq)]
pub struct PaddedBatch {
    /// Rows B.
    pub utterances: usize,
    /// Frames F of a row.
    pub frames: usize,
    /// `[B, F, 80]`, normalized.
    pub features: Vec<f32>,
    /// `[B]`: an utterance is valid in the first ⌈length / 4⌉ encoder frames.
    pub lengths: Vec<u32>,
    /// `[B]`: frames of padding before an utterance's first one.
    pub starts: Vec<u32>,
}

/// Everything between a waveform and the encoder, with its settings.
#[derive(Clone)]
pub struct Preprocessor {
    /// Silence added at both ends, in seconds.
    pub silence: f64,
    /// Normalization of the energies.
    pub normalization: Normalization,
    /// Padding of batches.
    pub padding: Padding,
    log_mel: LogMel,
}

/// The waveform with `seconds` of silence added at both ends.
pub fn pad_silence(samples: &[f32], seconds: f64) -> Vec<f32> {
    let silence = silent_samples(seconds);
    let mut padded = vec![0.0; samples.len() + 2 * silence];
    padded[silence..silence + samples.len()].copy_from_slice(samples);
    padded
}

pub(crate) fn silent_samples(seconds: f64) -> usize {
    (seconds.max(0.0) * f64::from(SAMPLE_RATE)).round() as usize
}

fn left_pad(frames: usize) -> usize {
    frames.next_multiple_of(STRIDE) - frames
}

impl Preprocessor {
    /// Plans the transforms; `silence` in seconds.
    pub fn new(silence: f64, normalization: Normalization, padding: Padding) -> Self {
        Self { silence, normalization, padding, log_mel: LogMel::new() }
    }

    /// Frames of a waveform of `samples` samples once silence is added, before any padding.
    pub fn frames(&self, samples: usize) -> usize {
        frame_count(samples + 2 * silent_samples(self.silence))
    }

    /// The most samples that a waveform of `frames` frames can have before silence is added.
    pub fn samples(&self, frames: usize) -> usize {
        (frames * HOP).saturating_sub(1 + 2 * silent_samples(self.silence))
    }

    /// The energies in dB of a waveform, silence added.
    pub fn energies(&self, samples: &[f32]) -> Features {
        let padded = pad_silence(samples, self.silence);
        match self.padding {
            Padding::Causal => self.log_mel.frames(&padded, 0, 0..frame_count(padded.len())),
            _ => self.log_mel.compute(&padded),
        }
    }

    /// Frames of zeros before an utterance of `frames` frames that is padded by its own length.
    pub fn left_pad(&self, frames: usize) -> usize {
        if self.padding == Padding::Causal { 0 } else { left_pad(frames) }
    }

    /// The normalized features of a waveform alone, `[frames, 80]`, before any padding of frames.
    pub fn features(&self, samples: &[f32]) -> Features {
        let mut features = self.energies(samples);
        let valid = features.frames;
        self.normalization.apply(&mut features, valid);
        features
    }

    /// The smallest batch that holds the waveforms.
    ///
    /// # Errors
    /// When there is no waveform.
    pub fn batch<W: AsRef<[f32]>>(&self, waveforms: &[W]) -> Result<PaddedBatch> {
        let longest = waveforms.iter().map(|waveform| self.frames(waveform.as_ref().len())).max();
        let longest = longest.ok_or_else(|| Error::invalid("a batch needs at least one utterance"))?;
        let frames = match self.padding {
            Padding::ReferenceFinetune => longest,
            Padding::Causal | Padding::Masked | Padding::ReferencePretrain => longest + left_pad(longest),
        };
        let mut batch = PaddedBatch::empty(waveforms.len(), frames);
        let samples = waveforms.iter().map(|waveform| waveform.as_ref().len()).max().unwrap_or(0);
        for (row, waveform) in waveforms.iter().enumerate() {
            match self.padding {
                padding if padding.by_own_length() => {
                    self.place(&mut batch, row, &self.features(waveform.as_ref()))?
                }
                _ => self.place_reference(&mut batch, row, waveform.as_ref(), samples)?,
            }
        }
        Ok(batch)
    }

    /// Writes normalized features into row `row` of a batch, padded by their own length.
    ///
    /// # Errors
    /// When they do not fit.
    pub fn place(&self, batch: &mut PaddedBatch, row: usize, features: &Features) -> Result<()> {
        let left = self.left_pad(features.frames);
        batch.place(row, features, left, left + features.frames)
    }

    /// Writes an utterance into row `row` of a batch under the reference's padding, whose longest
    /// utterance has `longest` samples (before silence is added).
    ///
    /// # Errors
    /// When the longest utterance has more frames than the batch.
    pub fn place_reference(
        &self,
        batch: &mut PaddedBatch,
        row: usize,
        waveform: &[f32],
        longest: usize,
    ) -> Result<()> {
        let mut padded = pad_silence(waveform, self.silence);
        let valid = padded.len();
        padded.resize(longest.max(waveform.len()) + 2 * silent_samples(self.silence), 0.0);
        let mut features = self.log_mel.compute(&padded);
        let share = valid as f64 / padded.len().max(1) as f64;
        let valid_frames = (share * features.frames as f64).round() as usize;
        self.normalization.apply(&mut features, valid_frames);
        let left = match self.padding {
            Padding::ReferenceFinetune => 0,
            _ => left_pad(features.frames),
        };
        let encoder_frames = (features.frames + left).div_ceil(STRIDE);
        let length = (share * encoder_frames as f64).round() as usize * STRIDE;
        batch.place(row, &features, left, length.min(features.frames + left))
    }
}

impl PaddedBatch {
    /// A batch of empty rows: zeros, length 0.
    pub fn empty(utterances: usize, frames: usize) -> Self {
        Self {
            utterances,
            frames,
            features: vec![0.0; utterances * frames * BANDS],
            lengths: vec![0; utterances],
            starts: vec![0; utterances],
        }
    }

    fn place(&mut self, row: usize, features: &Features, left: usize, length: usize) -> Result<()> {
        if row >= self.utterances || left + features.frames > self.frames {
            return Err(Error::shape(
                "batch",
                format!(
                    "an utterance of {} frames does not fit row {row} of a batch [{}, {}]",
                    features.frames, self.utterances, self.frames
                ),
            ));
        }
        let start = (row * self.frames + left) * BANDS;
        self.features[start..start + features.data.len()].copy_from_slice(&features.data);
        self.lengths[row] = length as u32;
        self.starts[row] = left as u32;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::{Stats, golden};
    use safetensors::SafeTensors;

    fn tone(samples: usize) -> Vec<f32> {
        (0..samples).map(|i| 0.3 * (i as f32 * 0.05).sin()).collect()
    }

    fn preprocessor(padding: Padding) -> Preprocessor {
        Preprocessor::new(
            0.0,
            Normalization::Global(Stats { mean: vec![-40.0; BANDS], std: vec![15.0; BANDS] }),
            padding,
        )
    }

    #[test]
    fn masked_rows_do_not_depend_on_their_batch() {
        for normalization in [preprocessor(Padding::Masked).normalization, Normalization::Sentence] {
            let preprocessor = Preprocessor::new(0.1, normalization, Padding::Masked);
            let waveforms = [tone(5000), tone(9000)];
            let together = preprocessor.batch(&waveforms).expect("a batch");
            let alone = preprocessor.batch(&waveforms[..1]).expect("a batch");
            assert_eq!((alone.frames, together.frames, &together.lengths[..]), (52, 80, &[52, 80][..]));
            assert_eq!(alone.features, together.features[..52 * BANDS]);
            assert!(together.features[52 * BANDS..80 * BANDS].iter().all(|&x| x == 0.0));
        }
    }

    #[test]
    fn reference_padding_equals_the_golden_batch() {
        let Some(bytes) = golden::bytes("common_b3") else { return };
        let tensors = SafeTensors::deserialize(&bytes).expect("a safetensors file");
        let stats = Stats {
            mean: golden::f32s(&tensors, "normalize.glob_mean").1,
            std: golden::f32s(&tensors, "normalize.glob_std").1,
        };
        let waveforms = golden::waveforms(&tensors);
        let waveforms: Vec<&[f32]> =
            waveforms.iter().zip([32_720, 37_600, 42_960]).map(|(waveform, n)| &waveform[..n]).collect();
        let mut preprocessor =
            Preprocessor::new(0.0, Normalization::Global(stats), Padding::ReferencePretrain);
        let batch = preprocessor.batch(&waveforms).expect("a batch");
        let (shape, expected) = golden::f32s(&tensors, "norm");
        assert_eq!((batch.utterances, batch.frames), (3, 272));
        // 0.7616 and 0.8752 of 68 encoder frames.
        assert_eq!(batch.lengths, [52 * 4, 60 * 4, 68 * 4]);
        assert_eq!(batch.starts, [3; 3]);
        for (row, expected) in batch.features.chunks(272 * BANDS).zip(expected.chunks(shape[1] * BANDS)) {
            let (left, norm) = row.split_at(3 * BANDS);
            assert!(left.iter().all(|&x| x == 0.0));
            let error = norm.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(error < 1e-4, "{error}");
        }
        preprocessor.padding = Padding::ReferenceFinetune;
        let batch = preprocessor.batch(&waveforms).expect("a batch");
        assert_eq!((batch.frames, &batch.lengths[..]), (269, &[208, 240, 269][..]));
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        let preprocessor = preprocessor(Padding::Masked);
        let mut batch = PaddedBatch::empty(1, 8);
        let place = |batch: &mut PaddedBatch, row, samples| {
            preprocessor.place(batch, row, &preprocessor.features(&tone(samples)))
        };
        assert!(place(&mut batch, 0, 1600).is_err());
        assert!(place(&mut batch, 1, 160).is_err());
        assert!(place(&mut batch, 0, 1000).is_ok());
        assert_eq!(batch.lengths, [8]);
        assert!(preprocessor.batch::<Vec<f32>>(&[]).is_err());
    }
}
