//! HyperMixing (Mai et al., 2023): an MLP over the time whose weights are made from the frames.

use super::blocks::{BlockLinear, block_width, split_blocks};
use super::norm::LayerNorm;
use super::{Context, Mixer};
use crate::error::Result;
use crate::graph::{Scope, Tensor};
use crate::ops::map::ActivationKind;
use crate::ops::matmul::MatMul;
use crate::recipe::Initialization;

/// In each head, W_1 and W_2 [time, h/H] = MLP(x + PE), two networks d/H → GELU → h/H frame by frame, and
/// W_2·GELU(xᵀ·W_1)ᵀ with x without the absolute sinusoid PE; then LayerNorm over all heads. A padded frame
/// neither enters the matmul nor gets anything from it.
#[derive(Debug, Clone, Copy)]
pub struct HyperMixer {
    /// Model width d.
    pub width: usize,
    /// Heads H.
    pub heads: usize,
    /// Width h of the MLP over the time, all heads together.
    pub hidden: usize,
    /// How the weights are drawn.
    pub initialization: Initialization,
}

impl Mixer for HyperMixer {
    fn wants_positions(&self) -> bool {
        false
    }

    fn forward(&self, scope: &Scope, ctx: &Context, x: &Tensor) -> Result<Tensor> {
        let (batch, time, d, heads) = (ctx.batch, ctx.time, self.width, self.heads);
        let (head, hidden) = (block_width(d, heads)?, block_width(self.hidden, heads)?);
        let x = x.mask_frames(&ctx.lengths)?;
        let with_positions = split_blocks(&x.add(&ctx.positions(scope, d)?)?, heads)?;
        let weights = |name: &str| {
            let linear = |index: &str, outputs: usize, x: &Tensor| {
                let initialization = self.initialization;
                let linear = BlockLinear { blocks: heads, inputs: d, outputs, initialization };
                linear.forward(&scope.at(format!("{name}.{index}")), x)
            };
            let inner = linear("0", d, &with_positions)?.activation(ActivationKind::Gelu)?;
            linear("1", self.hidden, &inner)?.reshape([heads, batch, time, hidden])
        };
        let (w1, w2) = (weights("w1")?, weights("w2")?);
        let x = split_blocks(&x, heads)?.reshape([heads, batch, time, head])?;
        let inner = x.apply(MatMul { transpose_a: true, ..MatMul::PLAIN }, &[&w1])?;
        let y = w2.linear(&inner.activation(ActivationKind::Gelu)?, None)?;
        let y = y.permute(&[1, 2, 0, 3])?.reshape([batch, time, d])?.mask_frames(&ctx.lengths)?;
        LayerNorm::new(d).forward(&scope.at("norm"), &y)
    }
}
