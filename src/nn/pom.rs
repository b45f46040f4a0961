//! The Polynomial Mixer (paper section 3): one summary for all frames, linear in time and memory.

use super::linear::Linear;
use super::norm::LayerNorm;
use super::{Context, Mixer};
use crate::error::Result;
use crate::graph::{Scope, Tensor};
use crate::recipe::{Initialization, Padding};

/// PoM of degree k and expansion D:
///
/// p = x·W_p + b_p in k chunks, H_1 = GELU(p_1), H_m = GELU(p_m) ∘ H_{m−1}, h̄ = mean over time of
/// [H_1 | … | H_k], y = LayerNorm((σ(x·W_s + b_s) ∘ h̄)·W_o + b_o).
#[derive(Debug, Clone, Copy)]
pub struct PolynomialMixer {
    /// Model width d.
    pub width: usize,
    /// Degree k.
    pub degree: usize,
    /// Expansion D.
    pub expand: usize,
    /// How the weights are drawn.
    pub initialization: Initialization,
}

impl Mixer for PolynomialMixer {
    fn wants_positions(&self) -> bool {
        true
    }

    fn forward(&self, scope: &Scope, ctx: &Context, x: &Tensor) -> Result<Tensor> {
        let (d, state) = (self.width, self.degree * self.expand * self.width);
        let linear = |inputs, outputs| Linear::new(inputs, outputs, self.initialization);
        // As published, padded frames are zeroed before the projection and count in the mean.
        let (x, weights) = match ctx.padding {
            Padding::Masked => (x.clone(), ctx.valid.clone()),
            Padding::Reference => {
                (x.mask_frames(&ctx.lengths)?, scope.graph().fill([ctx.batch, ctx.time], 1.0)?)
            }
        };
        let value = linear(d, state).forward(&scope.at("value"), &x)?;
        let summary = value.pom_aggregate(&weights, self.degree, false)?;
        let gate = linear(d, state).forward(&scope.at("gate"), &x)?;
        let selected = gate.pom_select(&summary)?;
        let y = linear(state, d).forward(&scope.at("output"), &selected)?;
        LayerNorm::new(d).forward(&scope.at("norm"), &y)
    }
}
