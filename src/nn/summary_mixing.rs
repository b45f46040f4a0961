//! SummaryMixing (Parcollet et al., 2024): every frame is combined with the mean of all frames.

use super::blocks::{BlockLinear, join_blocks, split_blocks};
use super::linear::weight_init;
use super::{Context, Mixer};
use crate::error::Result;
use crate::graph::{Init, Scope, Tensor};
use crate::ops::map::ActivationKind;
use crate::recipe::Initialization;

/// l_t = f(x_t)·m_t, s̄ = Σ m_t s(x_t) / Σ m_t, y_t = act(W·[l_t ; s̄] + b), where m_t is 1 for a valid frame, and
/// f and s are networks of two layers in blocks of channels with an activation after each layer.
#[derive(Debug, Clone, Copy)]
pub struct SummaryMixer {
    /// Model width d, and width of the summary.
    pub width: usize,
    /// Blocks of channels of f and s.
    pub blocks: usize,
    /// Width between the two layers of f and s.
    pub hidden: usize,
    /// Width of l.
    pub local: usize,
    /// Activation.
    pub activation: ActivationKind,
    /// How the weights are drawn.
    pub initialization: Initialization,
}

impl SummaryMixer {
    /// f or s on [blocks, batch·time, d/blocks] → [batch, time, outputs].
    fn network(&self, scope: &Scope, ctx: &Context, x: &Tensor, outputs: usize) -> Result<Tensor> {
        let mut x = x.clone();
        for (index, [inputs, outputs]) in
            [[self.width, self.hidden], [self.hidden, outputs]].iter().enumerate()
        {
            let (blocks, initialization) = (self.blocks, self.initialization);
            let linear = BlockLinear { blocks, inputs: *inputs, outputs: *outputs, initialization };
            x = linear.forward(&scope.at(index.to_string()), &x)?.activation(self.activation)?;
        }
        join_blocks(&x, ctx.batch, ctx.time)
    }
}

impl Mixer for SummaryMixer {
    fn wants_positions(&self) -> bool {
        true
    }

    fn forward(&self, scope: &Scope, ctx: &Context, x: &Tensor) -> Result<Tensor> {
        let (d, local) = (self.width, self.local);
        let x = split_blocks(x, self.blocks)?;
        let own = self.network(&scope.at("local"), ctx, &x, local)?.mask_frames(&ctx.lengths)?;
        let summary = self.network(&scope.at("summary"), ctx, &x, d)?.masked_mean(&ctx.valid)?;
        let combine = scope.at("combine");
        let weight =
            combine.parameter("weight", [d, local + d], weight_init(self.initialization, local + d, d))?;
        let bias = combine.parameter("bias", [d], Init::fan_in_uniform(local + d))?;
        // W·[l_t ; s̄] in two parts: the summary's is the same for all frames.
        let shared = summary.linear(&weight.slice(1, local, d)?, Some(&bias))?;
        let own = own.linear(&weight.slice(1, 0, local)?, None)?;
        own.add(&shared)?.activation(self.activation)
    }
}
