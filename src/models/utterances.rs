//! Inference of models of whole utterances: classes with probabilities, embeddings.

use super::inference::{Forward, InferenceSession, batch, bucket, check_waveforms};
use super::{DeviceModel, Encoder, UtteranceHead, UtteranceModel};
use crate::audio::Preprocessor;
use crate::error::{Error, Result};
use crate::graph::{Scope, Tensor};
use crate::nn::Context;

/// Feature frames of a batch, padding included, unless one row alone has more.
const BATCH_FRAMES: usize = 8192;

/// A model that tells the class of an utterance, on a device.
pub struct Classifier(Judge);

/// A model that gives an embedding of an utterance, on a device.
pub struct Embedder(Judge);

/// The class of an utterance.
#[derive(Debug, Clone, PartialEq)]
pub struct Classified {
    /// The number of the most probable class, the lowest on ties.
    pub class: usize,
    /// The probability of every class, in the order of [`UtteranceHead::labels`].
    pub probabilities: Vec<f32>,
}

impl Classifier {
    /// Classifies with a model that is on a device.
    ///
    /// # Errors
    /// When it was not trained to.
    pub fn of(on_device: &DeviceModel) -> Result<Self> {
        match on_device.utterance() {
            Some(head) if head.embedding.is_none() => Ok(Self(Judge::of(on_device, head))),
            _ => Err(Error::invalid(format!(
                "the model is no classifier but {}; fine-tune one with task = \"classify\"",
                on_device.config.kind.noun()
            ))),
        }
    }

    /// The classes, in the order of the probabilities.
    pub fn labels(&self) -> &[String] {
        &self.0.head.labels
    }

    /// The class of each waveform (16 kHz, mono, in [-1, 1]), whatever the others are.
    ///
    /// # Errors
    /// When a waveform is empty or holds a sample that is not finite, or the device fails.
    pub async fn classify(&mut self, waveforms: &[&[f32]]) -> Result<Vec<Classified>> {
        Ok(self.0.run(waveforms).await?.iter().map(|logits| classified(logits)).collect())
    }
}

impl Embedder {
    /// Embeds with a model that is on a device.
    ///
    /// # Errors
    /// When it was not trained to.
    pub fn of(on_device: &DeviceModel) -> Result<Self> {
        match on_device.utterance() {
            Some(head) if head.embedding.is_some() => Ok(Self(Judge::of(on_device, head))),
            _ => Err(Error::invalid(format!(
                "the model gives no embeddings, since it is {}; fine-tune one with task = \"verify\"",
                on_device.config.kind.noun()
            ))),
        }
    }

    /// Elements of an embedding.
    pub fn width(&self) -> usize {
        self.0.width
    }

    /// The embedding of each waveform (16 kHz, mono, in [-1, 1]), of length 1, whatever the others are.
    ///
    /// # Errors
    /// When a waveform is empty or holds a sample that is not finite, or the device fails.
    pub async fn embed(&mut self, waveforms: &[&[f32]]) -> Result<Vec<Vec<f32>>> {
        self.0.run(waveforms).await
    }
}

/// softmax of `logits`, and the best.
fn classified(logits: &[f32]) -> Classified {
    let top = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut probabilities: Vec<f32> = logits.iter().map(|logit| (logit - top).exp()).collect();
    let sum: f32 = probabilities.iter().sum();
    probabilities.iter_mut().for_each(|p| *p /= sum);
    let class = logits.iter().position(|&logit| logit == top).unwrap_or(0);
    Classified { class, probabilities }
}

/// One vector an utterance.
struct Judge {
    session: InferenceSession,
    preprocessor: Preprocessor,
    head: UtteranceHead,
    /// Elements of a vector.
    width: usize,
}

const OUTPUT: &str = "judged";

impl Judge {
    fn of(on_device: &DeviceModel, head: &UtteranceHead) -> Self {
        let encoder = Encoder::new(&on_device.config.model, on_device.config.bands);
        let model = UtteranceModel::new(encoder, head.clone());
        let forward: Box<Forward> = Box::new(move |scope: &Scope, ctx: &Context, features: &Tensor| {
            let (judged, _) = model.forward(scope, ctx, features)?;
            Ok(vec![(OUTPUT.to_owned(), judged.embeddings.unwrap_or(judged.scores))])
        });
        Self {
            session: InferenceSession::new(on_device, on_device.config.clone(), forward),
            preprocessor: on_device.preprocessor.preprocessor(),
            width: head.embedding.unwrap_or(head.labels.len()),
            head: head.clone(),
        }
    }

    async fn run(&mut self, waveforms: &[&[f32]]) -> Result<Vec<Vec<f32>>> {
        check_waveforms(waveforms)?;
        let mut judged = Vec::with_capacity(waveforms.len());
        while judged.len() < waveforms.len() {
            let rows = self.together(&waveforms[judged.len()..]);
            let batch = batch(&self.preprocessor, &waveforms[judged.len()..judged.len() + rows])?;
            self.session.run(&batch).await?;
            let all: Vec<f32> = self.session.read(OUTPUT).await?;
            judged.extend(all.chunks(self.width).take(rows).map(<[f32]>::to_vec));
        }
        if judged.iter().flatten().any(|value| !value.is_finite()) {
            return Err(Error::invalid(
                "the model gives a value that is no number; its weights may be damaged",
            ));
        }
        Ok(judged)
    }

    /// How many of the first of `waveforms` share a batch; one where padded frames change what others give.
    fn together(&self, waveforms: &[&[f32]]) -> usize {
        if !self.preprocessor.padding.by_own_length() {
            return 1;
        }
        let mut longest = 0;
        let fits = |(before, waveform): &(usize, &&[f32])| {
            longest = longest.max(bucket(self.preprocessor.frames(waveform.len())));
            longest * (before + 1).next_power_of_two() <= BATCH_FRAMES
        };
        waveforms.iter().enumerate().take_while(fits).count().max(1)
    }
}

impl DeviceModel {
    /// The head of a model of utterances.
    pub(super) fn utterance(&self) -> Option<&UtteranceHead> {
        self.config.kind.utterance()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_of_logits() {
        let one = classified(&[0.0, 2.0_f32.ln(), 0.0]);
        assert_eq!(one.class, 1);
        for (got, wanted) in one.probabilities.iter().zip([0.25, 0.5, 0.25]) {
            assert!((got - wanted).abs() < 1e-6, "{one:?}");
        }
        assert_eq!(classified(&[200.0, 200.0]), Classified { class: 0, probabilities: vec![0.5, 0.5] });
    }
}
