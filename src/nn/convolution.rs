//! The Conformer's convolution module (paper section 2).

use super::Context;
use super::context::state_name;
use super::linear::{Linear, weight_init};
use super::norm::LayerNorm;
use crate::error::Result;
use crate::graph::{Init, Scope, Tensor};
use crate::ops::map::ActivationKind;
use crate::recipe::{Initialization, PaddedFrames};
use crate::shape::Spec;

/// LayerNorm → pointwise d → 2d → GLU → depthwise convolution → LayerNorm → activation → Linear → dropout →
/// 0 on padded frames.
#[derive(Debug, Clone, Copy)]
pub struct ConvolutionModule {
    /// Model width d.
    pub width: usize,
    /// Taps of the depthwise convolution, odd.
    pub kernel: usize,
    /// Whether the frame is under the last tap, not the middle one.
    pub causal: bool,
    /// Activation.
    pub activation: ActivationKind,
    /// How the weights are drawn.
    pub initialization: Initialization,
}

impl ConvolutionModule {
    /// [batch, time, d] → [batch, time, d], without the residual.
    ///
    /// # Errors
    /// When x has another width.
    pub fn forward(&self, scope: &Scope, ctx: &Context, x: &Tensor) -> Result<Tensor> {
        let (d, kernel) = (self.width, self.kernel);
        let x = LayerNorm::new(d).forward(&scope.at("norm"), x)?;
        let x = Linear::new(d, 2 * d, self.initialization).forward(&scope.at("pointwise"), &x)?;
        let x = x.glu()?;
        let depthwise = scope.at("depthwise");
        let init = weight_init(self.initialization, kernel, d * kernel);
        let weight = depthwise.parameter("weight", [d, 1, kernel], init)?;
        let bias = depthwise.parameter("bias", [d], Init::fan_in_uniform(kernel))?;
        // The published recipe lets padded frames into the convolution; they leak inwards.
        let lengths = match ctx.padding {
            PaddedFrames::Masked => ctx.lengths.clone(),
            PaddedFrames::Reference => scope.input("full_lengths", Spec::u32([ctx.batch])),
        };
        let x = match ctx.stream {
            Some(_) => self.continued(&depthwise, ctx, &x, [&weight, &bias])?,
            None => {
                let left = if self.causal { kernel - 1 } else { kernel / 2 };
                x.depthwise_conv1d(&weight, &bias, &lengths, left)?
            }
        };
        let x = LayerNorm::new(d).forward(&scope.at("after_norm"), &x)?.activation(self.activation)?;
        let project = scope.at("project");
        let x = Linear::new(d, d, self.initialization).forward(&project, &x)?;
        ctx.dropout(&project, "dropout", &x)?.mask_frames(&ctx.lengths)
    }

    /// The causal convolution of the next chunk of a stream, after the kernel − 1 frames before it.
    fn continued(
        &self,
        scope: &Scope,
        ctx: &Context,
        x: &Tensor,
        [weight, bias]: [&Tensor; 2],
    ) -> Result<Tensor> {
        let (time, context) = (ctx.time, self.kernel - 1);
        if context == 0 {
            return x.depthwise_conv1d(weight, bias, &ctx.lengths, 0);
        }
        let name = state_name(scope, "context");
        let before = scope.graph().stored(name.clone(), Spec::f32([1, context, self.width]));
        let frames = Tensor::concat(&[&before, x], 1)?;
        frames.slice(1, time, context)?.store(name)?;
        let lengths = scope.input("frames_with_context", Spec::u32([1]));
        frames.depthwise_conv1d(weight, bias, &lengths, 0)?.slice(1, 0, time)
    }
}
