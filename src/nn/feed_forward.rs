//! The Conformer's feed-forward module (paper section 2).

use super::Context;
use super::linear::Linear;
use super::norm::LayerNorm;
use crate::error::Result;
use crate::graph::{Scope, Tensor};
use crate::ops::map::ActivationKind;
use crate::recipe::Initialization;

/// LayerNorm → Linear(d → hidden) → activation → dropout → Linear(hidden → d) → dropout.
#[derive(Debug, Clone, Copy)]
pub struct FeedForward {
    /// Model width d.
    pub width: usize,
    /// Width between the two projections.
    pub hidden: usize,
    /// Activation.
    pub activation: ActivationKind,
    /// How the weights are drawn.
    pub initialization: Initialization,
}

impl FeedForward {
    /// [batch, time, d] → [batch, time, d], without the residual.
    ///
    /// # Errors
    /// When x has another width.
    pub fn forward(&self, scope: &Scope, ctx: &Context, x: &Tensor) -> Result<Tensor> {
        let (up, down) = (scope.at("linear1"), scope.at("linear2"));
        let x = LayerNorm::new(self.width).forward(&scope.at("norm"), x)?;
        let x = Linear::new(self.width, self.hidden, self.initialization).forward(&up, &x)?;
        let x = ctx.dropout(&up, "dropout", &x.activation(self.activation)?)?;
        let x = Linear::new(self.hidden, self.width, self.initialization).forward(&down, &x)?;
        ctx.dropout(&down, "dropout", &x)
    }
}
