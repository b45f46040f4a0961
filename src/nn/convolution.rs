//! The Conformer's convolution module (paper section 2).

use super::Context;
use super::linear::{Linear, weight_init};
use super::norm::LayerNorm;
use crate::error::Result;
use crate::graph::{Init, Scope, Tensor};
use crate::ops::map::ActivationKind;
use crate::recipe::{Initialization, Padding};
use crate::shape::Spec;

/// LayerNorm → pointwise d → 2d → GLU → depthwise convolution → LayerNorm → activation → Linear → dropout →
/// 0 on padded frames.
#[derive(Debug, Clone, Copy)]
pub struct ConvolutionModule {
    /// Model width d.
    pub width: usize,
    /// Taps of the depthwise convolution, odd.
    pub kernel: usize,
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
            Padding::Masked => ctx.lengths.clone(),
            Padding::Reference => scope.input("full_lengths", Spec::u32([ctx.batch])),
        };
        let x = x.depthwise_conv1d(&weight, &bias, &lengths, kernel / 2)?;
        let x = LayerNorm::new(d).forward(&scope.at("after_norm"), &x)?.activation(self.activation)?;
        let project = scope.at("project");
        let x = Linear::new(d, d, self.initialization).forward(&project, &x)?;
        ctx.dropout(&project, "dropout", &x)?.mask_frames(&ctx.lengths)
    }
}
