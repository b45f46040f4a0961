//! FastFormer (Wu et al., 2021): additive attention, one query and one key for all frames.

use super::blocks::block_width;
use super::linear::Linear;
use super::{Context, Mixer};
use crate::error::Result;
use crate::graph::{Scope, Tensor};
use crate::ops::map::Affine;
use crate::recipe::Initialization;

/// Subtracted from the score of a padded frame: its exponential is then 0.
const FAR: f32 = 1e9;

/// q and k = Linear(x); in each head, α = softmax over time of Linear(q)/√d_h, Q̄ = Σ α q, β the same of k ∘ Q̄,
/// K̄ = Σ β (k ∘ Q̄); y = Linear(K̄ ∘ q) + q. Padded frames have weight 0.
#[derive(Debug, Clone, Copy)]
pub struct FastFormer {
    /// Model width d.
    pub width: usize,
    /// Heads H.
    pub heads: usize,
    /// How the weights are drawn.
    pub initialization: Initialization,
}

impl FastFormer {
    /// The mean of x over the time, weighted in each head by the softmax of its scores: [batch, time, d] →
    /// [batch, 1, d].
    fn pool(&self, scope: &Scope, ctx: &Context, x: &Tensor) -> Result<Tensor> {
        let (d, heads) = (self.width, self.heads);
        let head = block_width(d, heads)?;
        let scores = Linear::new(d, heads, self.initialization).forward(scope, x)?;
        let far = ctx.valid.apply(Affine { scale: FAR, shift: -FAR }, &[])?;
        let scores = scores.scale(1.0 / (head as f32).sqrt())?.transpose()?;
        let weights = scores.add(&far.reshape([ctx.batch, 1, ctx.time])?)?.softmax()?;
        // All channels under all heads' weights, of which each head keeps its own channels.
        let own = scope.constant(&format!("heads.{heads}x{d}"), [heads, d], |_| {
            (0..heads * d).map(|i| if i % d / head == i / d { 1.0 } else { 0.0 }).collect()
        });
        weights.matmul(x)?.mul(&own)?.sum(1, 2)
    }
}

impl Mixer for FastFormer {
    fn wants_positions(&self) -> bool {
        true
    }

    fn forward(&self, scope: &Scope, ctx: &Context, x: &Tensor) -> Result<Tensor> {
        let linear = Linear::new(self.width, self.width, self.initialization);
        let query = linear.forward(&scope.at("query"), x)?;
        let key = linear.forward(&scope.at("key"), x)?;
        let key = key.mul(&self.pool(&scope.at("query_attention"), ctx, &query)?)?;
        let pooled = self.pool(&scope.at("key_attention"), ctx, &key)?;
        linear.forward(&scope.at("output"), &query.mul(&pooled)?)?.add(&query)
    }
}
