//! What a model computes before its last layers, which learn while the rest stays.

use super::inference::{Forward, InferenceSession, batch, check_waveforms};
use super::{DeviceModel, Encoder, STRIDE, frames_after};
use crate::audio::Preprocessor;
use crate::error::Result;
use crate::graph::{Scope, Tensor};
use crate::nn::Context;

/// The front-end and the first layers of a model, as they are when it recognizes.
pub struct Prefix {
    session: InferenceSession,
    preprocessor: Preprocessor,
    width: usize,
}

impl Prefix {
    /// The front-end, and the first `layers` layers; with `normed`, which goes with all layers, the final LayerNorm too.
    ///
    /// # Errors
    /// When the model has fewer layers.
    pub fn new(model: &DeviceModel, layers: usize, normed: bool) -> Result<Self> {
        let config = model.config.clone();
        let all = config.model.layers;
        config.model.validate()?;
        let encoder = Encoder::new(&config.model, config.bands);
        let forward: Box<Forward> = Box::new(move |scope: &Scope, ctx: &Context, features: &Tensor| {
            let encoded = encoder.forward(scope, ctx, features)?;
            let output = match layers {
                _ if normed => encoded.output,
                0 => encoded.frontend,
                layers => encoded.layers[layers.min(all) - 1].clone(),
            };
            Ok(vec![("output".to_owned(), output)])
        });
        let width = config.model.d_model;
        let preprocessor = model.preprocessor.preprocessor();
        Ok(Self { session: InferenceSession::new(model, config, forward), preprocessor, width })
    }

    /// The valid frames of each waveform (16 kHz, mono), row-major, [`Prefix::width`] elements each.
    ///
    /// # Errors
    /// When a waveform is empty or holds a sample that is not finite, or the device fails.
    pub async fn run(&mut self, waves: &[&[f32]]) -> Result<Vec<Vec<f32>>> {
        check_waveforms(waves)?;
        // What is not padded by its own length would depend on the others.
        let together = if self.preprocessor.padding.by_own_length() { waves.len().max(1) } else { 1 };
        let mut outputs = Vec::with_capacity(waves.len());
        for waves in waves.chunks(together) {
            let batch = batch(&self.preprocessor, waves)?;
            self.session.run(&batch).await?;
            let all: Vec<f32> = self.session.read("output").await?;
            let time = frames_after(batch.frames);
            for (row, &length) in batch.lengths.iter().enumerate().take(waves.len()) {
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
