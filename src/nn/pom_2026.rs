//! The Polynomial Mixer in its later form (arXiv 2604.06129): powers of one bounded projection.

use super::linear::Linear;
use super::pom::{operands, summarize};
use super::{Context, Mixer};
use crate::error::Result;
use crate::graph::{Init, Scope, Tensor};
use crate::ops::map::ActivationKind;
use crate::ops::pom::PomAggregate;
use crate::recipe::{Initialization, ModelConfig};

/// PoM of degree k and expansion D with powers of one projection:
///
/// a(x) = LeakyReLU(x) between −0.1 and 6, u = x·W_c, P = Σ_i c_i ∘ a(u)^i for i = 1..k, h̄ = mean over time of P,
/// y = (min(max(x·W_s + b_s + 3, 0), 6)/6 ∘ h̄)·W_o.
///
/// The mean of a sum is the sum of the means: the powers are averaged first, and the learned c ∈ R^{Dd×k} are
/// applied to their k means.
#[derive(Debug, Clone, Copy)]
pub struct BoundedPolynomialMixer {
    /// Model width d.
    pub width: usize,
    /// Degree k.
    pub degree: usize,
    /// Expansion D.
    pub expand: usize,
    /// Frames of a chunk, where the summary of a frame is of the frames up to its chunk's end; `None` for all
    /// frames.
    pub chunk: Option<usize>,
    /// How the weights are drawn.
    pub initialization: Initialization,
}

impl BoundedPolynomialMixer {
    /// The mixer of a model.
    pub fn new(config: &ModelConfig) -> Self {
        Self {
            width: config.d_model,
            degree: config.degree,
            expand: config.expand,
            chunk: config.causal_chunk,
            initialization: config.initialization,
        }
    }

    /// [batch, time, d] → [batch, time, d], where `mask` weighs the frames of the summary: [batch, time] of real
    /// weights, or [batch, time, time], a row for every frame's own summary (without
    /// `chunk`). `stream` is [`Context::stream`].
    ///
    /// # Errors
    /// When x or the mask does not fit.
    pub fn mix(&self, scope: &Scope, x: &Tensor, mask: &Tensor, stream: Option<&Tensor>) -> Result<Tensor> {
        let (d, k, state) = (self.width, self.degree, self.expand * self.width);
        let linear =
            |inputs, outputs, bias| Linear { bias, ..Linear::new(inputs, outputs, self.initialization) };
        let value = linear(d, state, false).forward(&scope.at("value"), x)?;
        let op = PomAggregate::powers(k, false, ActivationKind::BoundedLeakyRelu);
        let powers = summarize(&scope.at("value"), &value, mask, op, self.chunk, stream)?;
        let summaries = powers.shape().elements() / (x.dims()[0] * k * state).max(1);
        let powers = powers.reshape([x.dims()[0], summaries, k, state])?;
        let coefficients = scope.parameter("coefficients", [state, k], Init::fan_in_uniform(k))?;
        let summary = powers.mul(&coefficients.transpose()?)?.sum(2, 3)?;
        let summary = summary.reshape([x.dims()[0], summaries, state])?;
        let gate = linear(d, state, true).forward(&scope.at("gate"), x)?;
        let selected = gate.activation(ActivationKind::HardSigmoid)?.mul(&summary)?;
        linear(state, d, false).forward(&scope.at("output"), &selected)
    }
}

impl Mixer for BoundedPolynomialMixer {
    fn wants_positions(&self) -> bool {
        true
    }

    fn forward(&self, scope: &Scope, ctx: &Context, x: &Tensor) -> Result<Tensor> {
        let (x, mask) = operands(scope, ctx, x)?;
        self.mix(scope, &x, &mask, ctx.stream.as_ref())
    }
}
