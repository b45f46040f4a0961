//! Pooling: from the layers' frames to one vector an utterance.

use super::{Context, Linear};
use crate::error::Result;
use crate::graph::{Init, Scope, Tensor};
use crate::ops::map::{ActivationKind, Affine};
use crate::recipe::Initialization;

/// Σ_l softmax(w)_l · x_l over the outputs of all layers; all weigh alike at the beginning.
#[derive(Debug, Clone, Copy)]
pub struct LayerSum;

impl LayerSum {
    /// [..] of every layer → [..].
    ///
    /// # Errors
    /// When there is no layer, or their shapes differ.
    pub fn forward(&self, scope: &Scope, layers: &[Tensor]) -> Result<Tensor> {
        let weights = scope.parameter("layers", [layers.len()], Init::Constant(0.0))?.softmax()?;
        let mut parts = layers.iter().enumerate().map(|(index, x)| x.mul(&weights.slice(0, index, 1)?));
        let first = parts.next().unwrap_or_else(|| Err(crate::Error::invalid("there is no layer")))?;
        parts.try_fold(first, |sum, part| sum.add(&part?))
    }
}

/// Attentive statistics (Okabe et al., 2018): e_t = v·tanh(W·x_t + b), α = softmax of e over the valid frames,
/// μ = Σ α_t x_t, σ = √(Σ α_t (x_t − μ)²), together [μ ; σ].
#[derive(Debug, Clone, Copy)]
pub struct AttentivePooling {
    /// Width of x.
    pub width: usize,
    /// Width of W·x + b.
    pub hidden: usize,
}

/// Added to the score of a padded frame: e^x of it is 0.
const MASKED: f32 = 1e9;
/// Added to a variance before its root is taken.
const EPS: f32 = 1e-5;

impl AttentivePooling {
    /// [batch, time, width] → [batch, 2·width]. A row's result is that of its valid frames, whatever else is in the batch;
    /// a row without any gives zeros for μ.
    ///
    /// # Errors
    /// When x has another width.
    pub fn forward(&self, scope: &Scope, ctx: &Context, x: &Tensor) -> Result<Tensor> {
        let (batch, time, width) = (ctx.batch, ctx.time, self.width);
        let torch = Initialization::Torch;
        let hidden = Linear::new(width, self.hidden, torch).forward(&scope.at("hidden"), x)?;
        let score = Linear { bias: false, ..Linear::new(self.hidden, 1, torch) };
        let scores = score.forward(&scope.at("score"), &tanh(&hidden)?)?.reshape([batch, time])?;
        let padded = ctx.valid.apply(Affine { scale: MASKED, shift: -MASKED }, &[])?;
        // Of a row without a valid frame all frames are alike: hence the second mask.
        let weights = scores.add(&padded)?.softmax()?.mul(&ctx.valid)?.reshape([batch, time, 1])?;
        let mean = x.mul(&weights)?.sum(1, 2)?;
        let far = x.sub(&mean)?;
        let deviation = far.mul(&far)?.mul(&weights)?.sum(1, 2)?.root(EPS)?;
        Tensor::concat(&[&mean, &deviation], 2)?.reshape([batch, 2 * width])
    }
}

/// tanh x = 2·σ(2x) − 1.
fn tanh(x: &Tensor) -> Result<Tensor> {
    x.scale(2.0)?.activation(ActivationKind::Sigmoid)?.apply(Affine { scale: 2.0, shift: -1.0 }, &[])
}
