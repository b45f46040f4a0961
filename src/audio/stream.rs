//! Features of audio that is still coming in.

use super::features::{BANDS, Features, HOP, LOOK_AHEAD, LogMel, frame_count};
use super::normalization::{Normalization, Stats};
use super::preprocess::{Padding, Preprocessor, silent_samples};
use crate::error::{Error, Result};

/// Makes features from chunks of a waveform, however it is cut: together they are the features that
/// [`Preprocessor::features`] makes of the whole under [`Padding::Causal`].
pub struct FeatureStream {
    log_mel: LogMel,
    stats: Stats,
    /// Samples of silence added at the end.
    silence: usize,
    /// The samples from `first` on that coming frames need.
    pending: Vec<f32>,
    first: usize,
    /// Frames made so far.
    frames: usize,
}

impl FeatureStream {
    /// Before the first sample.
    ///
    /// # Errors
    /// When padding or normalization need the whole utterance.
    pub fn new(preprocessor: &Preprocessor) -> Result<Self> {
        let Normalization::Global(stats) = &preprocessor.normalization else {
            return Err(Error::invalid(
                "the model normalizes by the whole utterance, which a stream does not have; train one with \
                 features.normalization = \"global\"",
            ));
        };
        if preprocessor.padding != Padding::Causal {
            return Err(Error::invalid(
                "the model was not trained for streams; train one with model.causal_chunk",
            ));
        }
        let silence = silent_samples(preprocessor.silence);
        let log_mel = LogMel::new();
        Ok(Self { log_mel, stats: stats.clone(), silence, pending: vec![0.0; silence], first: 0, frames: 0 })
    }

    /// The frames that `samples` complete; a frame needs 200 samples after its center.
    pub fn push(&mut self, samples: &[f32]) -> Features {
        self.pending.extend_from_slice(samples);
        let received = self.first + self.pending.len();
        let complete = received.checked_sub(LOOK_AHEAD).map_or(0, frame_count);
        self.take(complete)
    }

    /// The last frames; nothing comes after them.
    pub fn finish(&mut self) -> Features {
        self.pending.extend(std::iter::repeat_n(0.0, self.silence));
        self.take(frame_count(self.first + self.pending.len()))
    }

    /// Frames up to number `end`, normalized; samples that no later frame needs are dropped.
    fn take(&mut self, end: usize) -> Features {
        let end = end.max(self.frames);
        let mut features = self.log_mel.frames(&self.pending, self.first, self.frames..end);
        let valid = features.frames;
        Normalization::Global(self.stats.clone()).apply(&mut features, valid);
        self.frames = end;
        let needed = (end * HOP).saturating_sub(LOOK_AHEAD).max(self.first);
        self.pending.drain(..(needed - self.first).min(self.pending.len()));
        self.first = needed;
        debug_assert_eq!(features.data.len(), features.frames * BANDS);
        features
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn preprocessor(padding: Padding, normalization: Normalization) -> Preprocessor {
        Preprocessor::new(0.013, normalization, padding)
    }

    fn global() -> Normalization {
        Normalization::Global(Stats { mean: vec![-40.0; BANDS], std: vec![15.0; BANDS] })
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, cases: 32, ..Default::default() })]

        #[test]
        fn chunks_give_the_features_of_the_whole(cuts in proptest::collection::vec(0usize..900, 1..12)) {
            let samples: usize = cuts.iter().sum();
            let waveform: Vec<f32> = (0..samples).map(|i| (i as f32 * 0.05).sin() * (i % 700) as f32 / 900.0).collect();
            let preprocessor = preprocessor(Padding::Causal, global());
            let whole = preprocessor.features(&waveform);
            let mut stream = FeatureStream::new(&preprocessor).expect("a stream");
            let (mut data, mut start) = (Vec::new(), 0);
            for cut in cuts {
                data.extend(stream.push(&waveform[start..start + cut]).data);
                start += cut;
                prop_assert!(stream.pending.len() < 2 * LOOK_AHEAD + HOP);
            }
            data.extend(stream.finish().data);
            prop_assert_eq!(data, whole.data);
        }
    }

    #[test]
    fn what_needs_the_whole_utterance_is_refused() {
        assert!(FeatureStream::new(&preprocessor(Padding::Masked, global())).is_err());
        assert!(FeatureStream::new(&preprocessor(Padding::Causal, Normalization::Sentence)).is_err());
    }
}
