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
    /// Elements that the first convolution makes at most at a time, unless one utterance has more: the utterances go
    /// through the blocks in parts, so that memory is not that of the widest map of all.
    pub part: usize,
}

/// 128 MiB: what every WebGPU device binds.
const PART: usize = 32 << 20;

impl Frontend {
    /// The front-end of a model for `bands` mel bands.
    pub fn new(config: &ModelConfig, bands: usize) -> Self {
        Self {
            bands,
            channels: config.channels,
            width: config.d_model,
            initialization: config.initialization,
            part: PART,
        }
    }

    /// [batch, frames, bands] → the blocks' output [batch, ⌈⌈frames/2⌉/2⌉, bands/4·channels] and the
    /// Linear's [batch, ⌈⌈frames/2⌉/2⌉, d].
    ///
    /// # Errors
    /// When the features have fewer than 2 frames.
    pub fn forward(&self, scope: &Scope, ctx: &Context, features: &Tensor) -> Result<(Tensor, Tensor)> {
        let (batch, frames) = (features.dims()[0], features.dims()[1]);
        let utterance = frames.div_ceil(2) * self.bands.div_ceil(2) * self.channels[0];
        let most = (self.part / utterance.max(1)).max(1);
        let mut parts = Vec::with_capacity(batch.div_ceil(most));
        for first in (0..batch).step_by(most) {
            let part = || {
                let features = match most < batch {
                    true => features.slice(0, first, most.min(batch - first))?,
                    false => features.clone(),
                };
                self.blocks(scope, ctx, &features, first)
            };
            parts.push(scope.graph().section(part)?);
        }
        let x = match parts.as_slice() {
            [one] => one.clone(),
            all => Tensor::concat(&all.iter().collect::<Vec<_>>(), 0)?,
        };
        let linear = scope.at("linear");
        let y = Linear::new(x.dims()[2], self.width, self.initialization).forward(&linear, &x)?;
        Ok((x, ctx.dropout(&linear, "dropout", &y)?))
    }

    /// The two blocks for the utterances from number `first` on, flattened.
    fn blocks(&self, scope: &Scope, ctx: &Context, features: &Tensor, first: usize) -> Result<Tensor> {
        let (batch, frames) = (features.dims()[0], features.dims()[1]);
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
            let before = first * dims[1] * dims[2] * dims[3];
            x = ctx.dropout_from(&block, "dropout", &y, before)?.reshape(dims)?;
        }
        x.reshape([batch, x.dims()[1], x.dims()[2] * x.dims()[3]])
    }
}
