//! Intermediate outputs of a model: features, front-end, every layer, encoder, logits.

use std::sync::Arc;

use super::inference::{Forward, InferenceSession, batch, check_waveforms};
use super::{BestRq, CtcModel, DeviceModel, Encoded, Encoder, ModelKind, STRIDE, SavedModel, frames_after};
use crate::audio::{BANDS, Padding as AudioPadding, Preprocessor};
use crate::error::Result;
use crate::gpu::Gpu;
use crate::graph::{Scope, Tensor};
use crate::nn::Context;
use crate::recipe::PaddedFrames;

/// A model on a device, of which every layer's output is read.
pub struct Extractor {
    session: InferenceSession,
    preprocessor: Preprocessor,
    layers: usize,
    has_logits: bool,
}

/// A tensor [frames, width] of one utterance, row-major.
#[derive(Debug, Clone, PartialEq)]
pub struct Extracted {
    /// `features` (a frame every 10 ms), `frontend` (from here on a frame every 40 ms), `layer.<i>` from 0,
    /// `encoder` or `logits`.
    pub name: String,
    /// Elements of a frame.
    pub width: usize,
    /// The valid frames, one after another.
    pub values: Vec<f32>,
}

impl Extracted {
    /// Number of frames.
    pub fn frames(&self) -> usize {
        self.values.len() / self.width.max(1)
    }
}

impl Extractor {
    /// Places the model's weights on the device. `padding` replaces the model's own; the reference's is that of
    /// its pre-training, whatever the model.
    ///
    /// The logits are those of the head that the model has: over codes of BEST-RQ, or over tokens of CTC. A model of
    /// utterances has none that are of frames.
    ///
    /// # Errors
    /// When the model does not go with the padding, or the device has no room for it.
    pub fn new(gpu: Arc<Gpu>, saved: SavedModel, padding: Option<PaddedFrames>) -> Result<Self> {
        Self::of(&DeviceModel::new(gpu, &saved)?, padding)
    }

    /// Reads a model that is on a device; `padding` as of [`Extractor::new`].
    ///
    /// # Errors
    /// When the model does not go with the padding.
    pub fn of(on_device: &DeviceModel, padding: Option<PaddedFrames>) -> Result<Self> {
        let (mut config, mut preprocessor) =
            (on_device.config.clone(), on_device.preprocessor.preprocessor());
        let model = &mut config.model;
        model.padding = padding.unwrap_or(model.padding);
        model.validate()?;
        preprocessor.padding = match model.padding {
            PaddedFrames::Masked if preprocessor.padding.by_own_length() => preprocessor.padding,
            PaddedFrames::Masked => AudioPadding::Masked,
            PaddedFrames::Reference => AudioPadding::ReferencePretrain,
        };
        let (layers, bands) = (model.layers, config.bands);
        let encoder = Encoder::new(model, bands);
        let forward: Box<Forward> = match &config.kind {
            ModelKind::BestRq { codes, code_dim } => {
                let (codes, code_dim) = (*codes, *code_dim);
                let model = BestRq::new(encoder, bands, codes, code_dim);
                Box::new(move |scope: &Scope, ctx: &Context, features: &Tensor| {
                    let encoded = model.encoder().forward(scope, ctx, features)?;
                    let logits = model.head(scope, &encoded.output)?;
                    Ok(named(encoded, Some(logits)))
                })
            }
            ModelKind::Ctc(head) => {
                let model = CtcModel::new(encoder, head.clone());
                Box::new(move |scope: &Scope, ctx: &Context, features: &Tensor| {
                    let (logits, encoded) = model.forward(scope, ctx, features)?;
                    Ok(named(encoded, Some(logits)))
                })
            }
            ModelKind::Utterance(_) => Box::new(move |scope: &Scope, ctx: &Context, features: &Tensor| {
                Ok(named(encoder.forward(scope, ctx, features)?, None))
            }),
        };
        let has_logits = config.kind.utterance().is_none();
        let session = InferenceSession::new(on_device, config, forward);
        Ok(Self { session, preprocessor, layers, has_logits })
    }

    /// The names of an utterance's tensors, in the order of [`Extractor::extract`].
    pub fn names(&self) -> Vec<String> {
        let mut names = names(self.layers);
        names.truncate(names.len() - usize::from(!self.has_logits));
        names
    }

    /// The tensors of each waveform (16 kHz, mono, in [-1, 1]), all waveforms padded together to one batch.
    ///
    /// With masked padding they do not depend on the other waveforms; with the reference's they do.
    ///
    /// # Errors
    /// When a waveform is empty or holds a sample that is not finite, or the device fails.
    pub async fn extract(&mut self, waveforms: &[&[f32]]) -> Result<Vec<Vec<Extracted>>> {
        check_waveforms(waveforms)?;
        if waveforms.is_empty() {
            return Ok(Vec::new());
        }
        let batch = batch(&self.preprocessor, waveforms)?;
        self.session.run(&batch).await?;
        let mut extracted: Vec<Vec<Extracted>> = Vec::with_capacity(waveforms.len());
        for (row, waveform) in waveforms.iter().enumerate() {
            let first = row * batch.frames + batch.starts[row] as usize;
            let frames = first..first + self.preprocessor.frames(waveform.len());
            let values = batch.features[frames.start * BANDS..frames.end * BANDS].to_vec();
            extracted.push(vec![Extracted { name: "features".to_owned(), width: BANDS, values }]);
        }
        let time = frames_after(batch.frames);
        for name in self.names().into_iter().skip(1) {
            let all: Vec<f32> = self.session.read(&name).await?;
            let width = all.len() / (batch.utterances * time);
            for (row, tensors) in extracted.iter_mut().enumerate() {
                let frames = (batch.lengths[row] as usize).div_ceil(STRIDE).min(time);
                let values = all[row * time * width..(row * time + frames) * width].to_vec();
                tensors.push(Extracted { name: name.clone(), width, values });
            }
        }
        Ok(extracted)
    }
}

/// The names of an utterance's tensors.
fn names(layers: usize) -> Vec<String> {
    let layers = (0..layers).map(|index| format!("layer.{index}"));
    let before = ["features", "frontend"].map(str::to_owned).into_iter();
    before.chain(layers).chain(["encoder", "logits"].map(str::to_owned)).collect()
}

/// The tensors that are read from the device.
fn named(encoded: Encoded, logits: Option<Tensor>) -> Vec<(String, Tensor)> {
    let names = names(encoded.layers.len()).into_iter().skip(1);
    let Encoded { frontend, layers, output, .. } = encoded;
    names.zip([frontend].into_iter().chain(layers).chain([output]).chain(logits)).collect()
}
