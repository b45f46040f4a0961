//! The convolutional front-end: features to encoder frames, a quarter as many.

use super::Context;
use super::linear::Linear;
use super::norm::LayerNorm;
use crate::error::Result;
use crate::graph::{Init, Scope, Tensor};
use crate::ops::map::ActivationKind;
use crate::recipe::{Initialization, ModelConfig};

/// Two blocks of Conv2d 3×3 with stride 2×2 → LayerNorm over (frequency, channel) → LeakyReLU(0.01) →
/// dropout; then flatten (frequency·channels + channel) → Linear → dropout.
#[derive(Debug, Clone, Copy)]
pub struct Frontend {
    /// Mel bands.
    pub bands: usize,
    /// Channels of the two blocks.
    pub channels: [usize; 2],
    /// Model width.
    pub width: usize,
    /// How the Linear is drawn; the convolutions are U(±1/√fan_in).
    pub initialization: Initialization,
}

impl Frontend {
    /// The front-end of a model for `bands` mel bands.
    pub fn new(config: &ModelConfig, bands: usize) -> Self {
        Self {
            bands,
            channels: config.channels,
            width: config.d_model,
            initialization: config.initialization,
        }
    }

    /// [batch, frames, bands] → the blocks' output [batch, ⌈⌈frames/2⌉/2⌉, bands/4·channels] and the
    /// Linear's [batch, ⌈⌈frames/2⌉/2⌉, d].
    ///
    /// # Errors
    /// When the features have fewer than 2 frames.
    pub fn forward(&self, scope: &Scope, ctx: &Context, features: &Tensor) -> Result<(Tensor, Tensor)> {
        let dims = features.dims();
        let (batch, frames) = (dims[0], dims[1]);
        let mut x = features.reshape([batch, frames, self.bands, 1])?;
        for (index, &channels) in self.channels.iter().enumerate() {
            let block = scope.at(format!("blocks.{index}"));
            let (conv, norm) = (block.at("conv"), block.at("norm"));
            let fan_in = 9 * x.dims()[3];
            let init = Init::fan_in_uniform(fan_in);
            let weight = conv.parameter("weight", [channels, x.dims()[3], 3, 3], init)?;
            let bias = conv.parameter("bias", [channels], init)?;
            let y = x.conv2d(&weight, &bias)?;
            let dims = y.dims().to_vec();
            let y = y.reshape([dims[0], dims[1], dims[2] * dims[3]])?;
            let y = LayerNorm::new(dims[2] * dims[3])
                .forward(&norm, &y)?
                .activation(ActivationKind::LeakyRelu)?;
            x = ctx.dropout(&block, "dropout", &y)?.reshape(dims)?;
        }
        let time = x.dims()[1];
        let width = x.dims()[2] * x.dims()[3];
        let x = x.reshape([batch, time, width])?;
        let linear = scope.at("linear");
        let y = Linear::new(width, self.width, self.initialization).forward(&linear, &x)?;
        Ok((x, ctx.dropout(&linear, "dropout", &y)?))
    }
}
