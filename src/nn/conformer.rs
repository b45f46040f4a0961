//! One Conformer layer (paper section 2) around any mixer.

use super::norm::LayerNorm;
use super::{Context, ConvolutionModule, FeedForward, Mixer, Mode, mixer};
use crate::error::Result;
use crate::graph::{Scope, Tensor};
use crate::recipe::ModelConfig;
use crate::shape::Spec;

/// x ← x + ½·FFN1(x); x ← x + Mixer(LayerNorm(x)); x ← x + Conv(x); x ← LayerNorm(x + ½·FFN2(x)).
#[derive(Debug)]
pub struct ConformerLayer {
    width: usize,
    feed_forward: FeedForward,
    mixer: Box<dyn Mixer>,
    convolution: ConvolutionModule,
}

impl ConformerLayer {
    /// Layer number `index` of a model.
    pub fn new(config: &ModelConfig, index: usize) -> Self {
        let activation = config.activation.into();
        let (width, initialization) = (config.d_model, config.initialization);
        Self {
            width,
            feed_forward: FeedForward { width, hidden: config.ffn, activation, initialization },
            mixer: mixer(config.mixer.for_layer(index), config),
            convolution: ConvolutionModule {
                width,
                kernel: config.kernel,
                causal: config.causal_chunk.is_some(),
                activation,
                initialization,
            },
        }
    }

    /// Whether its mixer needs the absolute sinusoid at the encoder's input.
    pub fn wants_positions(&self) -> bool {
        self.mixer.wants_positions()
    }

    /// [batch, time, d] → [batch, time, d]. With LayerDrop, the input `<path>.keep` (f32 `[1]`, 1 or 0) says
    /// whether the layer takes part.
    ///
    /// # Errors
    /// When x has another width.
    pub fn forward(&self, scope: &Scope, ctx: &Context, x: &Tensor) -> Result<Tensor> {
        let residual = x;
        let norm = |name: &str, x: &Tensor| LayerNorm::new(self.width).forward(&scope.at(name), x);
        let x = x.add(&self.feed_forward.forward(&scope.at("ffn1"), ctx, x)?.scale(0.5)?)?;
        let mixed = self.mixer.forward(&scope.at("mixer"), ctx, &norm("mixer_norm", &x)?)?;
        let x = x.add(&mixed)?;
        let x = x.add(&self.convolution.forward(&scope.at("conv"), ctx, &x)?)?;
        let x = x.add(&self.feed_forward.forward(&scope.at("ffn2"), ctx, &x)?.scale(0.5)?)?;
        let y = norm("norm", &x)?;
        match ctx.mode {
            Mode::Training { layer_drop, .. } if layer_drop > 0.0 => {
                let keep = scope.input(&scope.join("keep"), Spec::f32([1]));
                residual.add(&y.sub(residual)?.mul(&keep)?)
            }
            _ => Ok(y),
        }
    }
}
