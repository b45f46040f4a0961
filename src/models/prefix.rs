//! The frozen layers of a model in front of those that are trained.

use super::inference::{Forward, InferenceSession, batch, check_waveforms};
use super::{DeviceModel, Encoder, STRIDE, frames_after};
use crate::audio::Preprocessor;
use crate::error::{Error, Result};
use crate::graph::{Scope, Tensor};
use crate::nn::Context;

/// A value of the encoder that is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The output of the front-end.
    Frontend,
    /// The output of a layer, numbered from 0.
    Layer(usize),
    /// The output of the last layer after the final LayerNorm.
    Output,
}

/// The front-end and the first layers of a model, as they are when it recognizes.
pub struct Prefix {
    session: InferenceSession,
    preprocessor: Preprocessor,
    width: usize,
}

impl Prefix {
    /// What gives `parts`, one behind the other in every frame.
    ///
    /// # Errors
    /// When there is no part, or the model has fewer layers.
    pub fn new(model: &DeviceModel, parts: &[Part]) -> Result<Self> {
        let config = model.config.clone();
        config.model.validate()?;
        let layers = config.model.layers;
        let fits = |part: &Part| !matches!(part, Part::Layer(layer) if *layer >= layers);
        if parts.is_empty() || !parts.iter().all(fits) {
            return Err(Error::invalid(format!(
                "the model has {layers} layers, and {parts:?} are asked for"
            )));
        }
        let encoder = Encoder::new(&config.model, config.bands);
        let wanted = parts.to_vec();
        let forward: Box<Forward> = Box::new(move |scope: &Scope, ctx: &Context, features: &Tensor| {
            let encoded = encoder.forward(scope, ctx, features)?;
            let outputs = wanted.iter().map(|part| match part {
                Part::Frontend => &encoded.frontend,
                Part::Layer(layer) => &encoded.layers[*layer],
                Part::Output => &encoded.output,
            });
            let outputs: Vec<&Tensor> = outputs.collect();
            let output = match outputs.as_slice() {
                [one] => (*one).clone(),
                several => Tensor::concat(several, 2)?,
            };
            Ok(vec![("output".to_owned(), output)])
        });
        let width = parts.len() * config.model.d_model;
        let preprocessor = model.preprocessor.preprocessor();
        Ok(Self { session: InferenceSession::new(model, config, forward), preprocessor, width })
    }

    /// The valid frames of each waveform (16 kHz, mono), row-major, [`Prefix::width`] elements each.
    ///
    /// # Errors
    /// When a waveform is empty or holds a sample that is not finite, or the device fails.
    pub async fn run(&mut self, waveforms: &[&[f32]]) -> Result<Vec<Vec<f32>>> {
        check_waveforms(waveforms)?;
        // What is not padded by its own length would depend on the others.
        let together = if self.preprocessor.padding.by_own_length() { waveforms.len().max(1) } else { 1 };
        let mut outputs = Vec::with_capacity(waveforms.len());
        for waveforms in waveforms.chunks(together) {
            let batch = batch(&self.preprocessor, waveforms)?;
            self.session.run(&batch).await?;
            let all: Vec<f32> = self.session.read("output").await?;
            let time = frames_after(batch.frames);
            for (row, &length) in batch.lengths.iter().enumerate().take(waveforms.len()) {
                let frames = (length as usize).div_ceil(STRIDE).min(time);
                let first = row * time * self.width;
                outputs.push(all[first..first + frames * self.width].to_vec());
            }
        }
        Ok(outputs)
    }

    /// Elements of a frame.
    pub fn width(&self) -> usize {
        self.width
    }
}
