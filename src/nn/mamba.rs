//! Mamba in both directions (Gu and Dao, 2023), a baseline that the paper names without code.

use super::linear::{Linear, weight_init};
use super::{Context, Mixer};
use crate::error::Result;
use crate::graph::{Init, Scope, Tensor};
use crate::ops::map::ActivationKind;
use crate::ops::scan::STATE;
use crate::recipe::Initialization;

/// Taps of the convolution before the scan.
const TAPS: usize = 4;

/// The sum of two branches with parameters of their own, one forward in time and one backward. With d_in = 2d:
///
/// (u, z) = x·W_in, u ← SiLU(conv(u)), Δ = softplus(u·W_r·W_Δ + b_Δ) through a rank of ⌈d/16⌉, (B, C) = u·W_s,
/// y = (scan(u, Δ, A_log, B, C, D) ∘ SiLU(z))·W_out
///
/// The depthwise convolution has four taps, stored in the order of time, of which the last is the frame itself,
/// in the branch backward the first; the scan is [`crate::ops::scan::SelectiveScan`], and backward starts at each
/// utterance's last valid frame. Only the convolution and Δ have a bias.
///
/// What decides how long the states remember starts as in Mamba's published code: A_log = ln 1 … ln 16 (the real
/// form of S4D, Gu et al. 2022), D = 1, W_Δ from U(±1/√rank), softplus(b_Δ) log-uniform from 0.001 to 0.1.
#[derive(Debug, Clone, Copy)]
pub struct Mamba {
    /// Model width d.
    pub width: usize,
    /// How the other weights are drawn.
    pub initialization: Initialization,
}

impl Mamba {
    fn branch(&self, scope: &Scope, ctx: &Context, x: &Tensor, reverse: bool) -> Result<Tensor> {
        let (d, inner, rank) = (self.width, 2 * self.width, self.width.div_ceil(16));
        let init = |fan_in, fan_out| weight_init(self.initialization, fan_in, fan_out);
        let linear =
            |inputs, outputs| Linear { bias: false, ..Linear::new(inputs, outputs, self.initialization) };
        let input = scope.at("input").parameter("weight", [2 * inner, d], init(d, 2 * inner))?;
        // Half the weight is less to copy than half of the result.
        let u = x.linear(&input.slice(0, 0, inner)?, None)?;
        let z = x.linear(&input.slice(0, inner, inner)?, None)?;

        let conv = scope.at("conv");
        let weight = conv.parameter("weight", [inner, 1, TAPS], init(TAPS, inner * TAPS))?;
        let bias = conv.parameter("bias", [inner], Init::fan_in_uniform(TAPS))?;
        let left = if reverse { 0 } else { TAPS - 1 };
        let u = u.depthwise_conv1d(&weight, &bias, &ctx.lengths, left)?.activation(ActivationKind::Silu)?;

        let low = linear(inner, rank).forward(&scope.at("delta_rank"), &u)?;
        let delta = scope.at("delta");
        let weight = delta.parameter("weight", [inner, rank], Init::fan_in_uniform(rank))?;
        let bias = delta.parameter("bias", [inner], Init::InverseSoftplus { low: 1e-3, high: 0.1 })?;
        let delta = low.linear(&weight, Some(&bias))?.activation(ActivationKind::Softplus)?;

        let bc = linear(inner, 2 * STATE).forward(&scope.at("state"), &u)?;
        let a_log = scope.parameter("a_log", [inner, STATE], Init::LogCount)?;
        let skip = scope.parameter("d", [inner], Init::Constant(1.0))?;
        let y = u.selective_scan(&delta, &a_log, &bc, &skip, &ctx.lengths, reverse)?;
        let y = y.mul(&z.activation(ActivationKind::Silu)?)?;
        linear(inner, d).forward(&scope.at("output"), &y)
    }
}

impl Mixer for Mamba {
    fn wants_positions(&self) -> bool {
        false
    }

    fn forward(&self, scope: &Scope, ctx: &Context, x: &Tensor) -> Result<Tensor> {
        let ahead = self.branch(&scope.at("forward"), ctx, x, false)?;
        ahead.add(&self.branch(&scope.at("backward"), ctx, x, true)?)
    }
}
