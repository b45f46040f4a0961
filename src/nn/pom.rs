//! The Polynomial Mixer (paper section 3): one summary for all frames, linear in time and memory.

use super::linear::Linear;
use super::norm::LayerNorm;
use super::{Context, Mixer};
use crate::error::Result;
use crate::graph::{Scope, Tensor};
use crate::ops::map::ActivationKind;
use crate::ops::pom::PomAggregate;
use crate::recipe::{Initialization, ModelConfig, Padding};

/// PoM of degree k and expansion D:
///
/// p = x·W_p + b_p in k chunks, H_1 = GELU(p_1), H_m = GELU(p_m) ∘ H_{m−1}, h̄ = mean over time of
/// [H_1 | … | H_k], y = LayerNorm((σ(x·W_s + b_s) ∘ h̄)·W_o + b_o).
///
/// The frequency-aware forms part the d channels in groups, each with a projection and a gate of its own, and
/// share W_o. In the selective form p has D·d columns and the state is the mean of ReLU(p)^k.
#[derive(Debug, Clone, Copy)]
pub struct PolynomialMixer {
    /// Model width d.
    pub width: usize,
    /// Degree k.
    pub degree: usize,
    /// Expansion D.
    pub expand: usize,
    /// Groups of channels, as even as they can be, the last ones wider.
    pub groups: usize,
    /// Whether it is the selective form.
    pub selective: bool,
    /// Whether the summary of a frame is of the frames up to it.
    pub causal: bool,
    /// How the weights are drawn.
    pub initialization: Initialization,
}

impl PolynomialMixer {
    /// The mixer of the paper's base and large models.
    pub fn new(config: &ModelConfig) -> Self {
        Self {
            width: config.d_model,
            degree: config.degree,
            expand: config.expand,
            groups: 1,
            selective: false,
            causal: false,
            initialization: config.initialization,
        }
    }

    /// The mixer without its LayerNorm: [batch, time, d] → [batch, time, d], where `mask` weighs the frames of
    /// the summary: [batch, time] of real weights, or [batch, time, time], a row for every frame's own summary
    /// (not `causal`).
    ///
    /// # Errors
    /// When x or the mask does not fit.
    pub fn mix(&self, scope: &Scope, x: &Tensor, mask: &Tensor) -> Result<Tensor> {
        let aggregate = match self.selective {
            true => PomAggregate::powers(self.degree, self.causal, ActivationKind::Relu),
            false => PomAggregate::products(self.degree, self.causal),
        };
        let border = |group: usize| group * self.width / self.groups;
        let mut selected = Vec::with_capacity(self.groups);
        for group in 0..self.groups {
            let at = |name: &str| match self.groups {
                1 => scope.at(name),
                _ => scope.at(format!("{name}.{group}")),
            };
            let inputs = border(group + 1) - border(group);
            let state = if self.selective { 1 } else { self.degree } * self.expand * inputs;
            let linear = Linear::new(inputs, state, self.initialization);
            let x = if self.groups == 1 { x.clone() } else { x.slice(2, border(group), inputs)? };
            let value = linear.forward(&at("value"), &x)?;
            let mut summary = value.pom_aggregate(mask, aggregate)?;
            if self.selective {
                // The power k alone, the last of those from 1.
                summary = summary.slice(summary.shape().rank() - 1, (self.degree - 1) * state, state)?;
            }
            selected.push(linear.forward(&at("gate"), &x)?.pom_select(&summary)?);
        }
        let selected = match selected.as_slice() {
            [one] => one.clone(),
            all => Tensor::concat(&all.iter().collect::<Vec<_>>(), 2)?,
        };
        let linear = Linear::new(selected.shape().last(), self.width, self.initialization);
        linear.forward(&scope.at("output"), &selected)
    }
}

impl Mixer for PolynomialMixer {
    fn wants_positions(&self) -> bool {
        true
    }

    fn forward(&self, scope: &Scope, ctx: &Context, x: &Tensor) -> Result<Tensor> {
        let (x, mask) = operands(scope, ctx, x)?;
        let y = self.mix(scope, &x, &mask)?;
        LayerNorm::new(self.width).forward(&scope.at("norm"), &y)
    }
}

/// x and the frames' weights in the mean. As published, padded frames are zeroed before the projection and
/// count in the mean.
pub(super) fn operands(scope: &Scope, ctx: &Context, x: &Tensor) -> Result<(Tensor, Tensor)> {
    match ctx.padding {
        Padding::Masked => Ok((x.clone(), ctx.valid.clone())),
        Padding::Reference => {
            Ok((x.mask_frames(&ctx.lengths)?, scope.graph().fill([ctx.batch, ctx.time], 1.0)?))
        }
    }
}
