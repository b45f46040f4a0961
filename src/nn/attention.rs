//! Multi-head self-attention, the mixers that PoM replaces: with absolute, rotary or relative positions.

use super::blocks::block_width;
use super::linear::{Linear, weight_init};
use super::{Context, Mixer};
use crate::error::{Error, Result};
use crate::graph::{Init, Scope, Tensor};
use crate::ops::attention::{Attention, Positions, QkvLayout};
use crate::recipe::Initialization;

/// q, k, v = Linear(x); in each head, softmax(q·kᵀ/√d_h)·v; y = Linear of the heads side by side. It has positions
/// from the encoder's input alone. Padded frames are no keys.
#[derive(Debug, Clone, Copy)]
pub struct RegularAttention {
    /// Model width d.
    pub width: usize,
    /// Heads H, which divide d.
    pub heads: usize,
    /// How the weights are drawn.
    pub initialization: Initialization,
}

/// [`RegularAttention`] of queries and keys that are rotated by their frame (RoPE, Su et al. 2021); scale 1/√d of the
/// model, as published; no biases but the output's.
#[derive(Debug, Clone, Copy)]
pub struct RotaryAttention {
    /// Model width d.
    pub width: usize,
    /// Heads H; d/H is even.
    pub heads: usize,
    /// How the weights are drawn.
    pub initialization: Initialization,
}

/// Attention with relative positions (Transformer-XL, Dai et al. 2019), of which the sinusoid sees no direction:
/// softmax of ((q_i + u)·k_j + (q_i + v)·W·PE(|i − j|))/√d, with biases u and v of each head; d is the model's, as
/// published; no biases else but the output's.
#[derive(Debug, Clone, Copy)]
pub struct RelativeAttention {
    /// Model width d.
    pub width: usize,
    /// Heads H, which divide d.
    pub heads: usize,
    /// How the weights are drawn.
    pub initialization: Initialization,
}

/// 1/√n.
fn scale(n: usize) -> f32 {
    (1.0 / (n as f64).sqrt()) as f32
}

impl Mixer for RegularAttention {
    fn wants_positions(&self) -> bool {
        true
    }

    fn forward(&self, scope: &Scope, ctx: &Context, x: &Tensor) -> Result<Tensor> {
        let d = self.width;
        let op = Attention {
            heads: self.heads,
            layout: QkvLayout::PartMajor,
            positions: Positions::Absent,
            scale: scale(block_width(d, self.heads)?),
        };
        let projection = Linear::new(d, 3 * d, self.initialization).forward(&scope.at("input"), x)?;
        let y = projection.attention(op, &ctx.lengths, &[])?;
        Linear::new(d, d, self.initialization).forward(&scope.at("output"), &y)
    }
}

impl Mixer for RotaryAttention {
    fn wants_positions(&self) -> bool {
        false
    }

    fn forward(&self, scope: &Scope, ctx: &Context, x: &Tensor) -> Result<Tensor> {
        let (d, heads) = (self.width, self.heads);
        let columns = block_width(d, heads)?;
        if !columns.is_multiple_of(2) {
            return Err(Error::usage(format!(
                "heads of {d}/{heads} = {columns} channels cannot be rotated in pairs; change model.heads or \
                 model.d_model"
            )));
        }
        let op =
            Attention { heads, layout: QkvLayout::HeadMajor, positions: Positions::Rotary, scale: scale(d) };
        let input = Linear { bias: false, ..Linear::new(d, 3 * d, self.initialization) };
        let projection = input.forward(&scope.at("input"), x)?;
        // The sinusoid of a head's width is the table of sines and cosines.
        let y = projection.attention(op, &ctx.lengths, &[&ctx.positions(scope, columns)?])?;
        Linear::new(d, d, self.initialization).forward(&scope.at("output"), &y)
    }
}

impl Mixer for RelativeAttention {
    fn wants_positions(&self) -> bool {
        false
    }

    fn forward(&self, scope: &Scope, ctx: &Context, x: &Tensor) -> Result<Tensor> {
        let (d, heads) = (self.width, self.heads);
        let columns = block_width(d, heads)?;
        let op = Attention {
            heads,
            layout: QkvLayout::HeadMajor,
            positions: Positions::Relative,
            scale: scale(d),
        };
        let plain = |outputs| Linear { bias: false, ..Linear::new(d, outputs, self.initialization) };
        let projection = plain(3 * d).forward(&scope.at("input"), x)?;
        let table = plain(d).forward(&scope.at("position"), &ctx.positions(scope, d)?)?;
        let init = match self.initialization {
            Initialization::XavierNormal => weight_init(self.initialization, columns, heads),
            Initialization::Torch => Init::xavier_uniform(columns, heads),
        };
        let bias = |name: &str| scope.parameter(name, [heads, columns], init)?.reshape([1, heads, columns]);
        let biases = Tensor::concat(&[&bias("content_bias")?, &bias("position_bias")?], 0)?;
        let y = projection.attention(op, &ctx.lengths, &[&table, &biases])?;
        Linear::new(d, d, self.initialization).forward(&scope.at("output"), &y)
    }
}
