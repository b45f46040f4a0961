//! The Polynomial Mixer (paper section 3): one summary for all frames, linear in time and memory.

use super::context::state_name;
use super::linear::Linear;
use super::norm::LayerNorm;
use super::{Context, Mixer};
use crate::error::Result;
use crate::graph::{Scope, Tensor};
use crate::ops::map::ActivationKind;
use crate::ops::pom::PomAggregate;
use crate::recipe::{Initialization, ModelConfig, PaddedFrames};

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
    /// Frames of a chunk, where the summary of a frame is of the frames up to its chunk's end; `None` for all
    /// frames.
    pub chunk: Option<usize>,
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
            chunk: config.causal_chunk,
            initialization: config.initialization,
        }
    }

    /// The mixer without its LayerNorm: [batch, time, d] → [batch, time, d], where `mask` weighs the frames of
    /// the summary: [batch, time] of real weights, or [batch, time, time], a row for every frame's own summary
    /// (without `chunk`). `stream` is [`Context::stream`].
    ///
    /// # Errors
    /// When x or the mask does not fit.
    pub fn mix(&self, scope: &Scope, x: &Tensor, mask: &Tensor, stream: Option<&Tensor>) -> Result<Tensor> {
        let aggregate = match self.selective {
            true => PomAggregate::powers(self.degree, false, ActivationKind::Relu),
            false => PomAggregate::products(self.degree, false),
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
            let mut summary = summarize(&at("value"), &value, mask, aggregate, self.chunk, stream)?;
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
        let y = self.mix(scope, &x, &mask, ctx.stream.as_ref())?;
        LayerNorm::new(self.width).forward(&scope.at("norm"), &y)
    }
}

/// x and the frames' weights in the mean. As published, padded frames are zeroed before the projection and
/// count in the mean.
pub(super) fn operands(scope: &Scope, ctx: &Context, x: &Tensor) -> Result<(Tensor, Tensor)> {
    match ctx.padding {
        PaddedFrames::Masked => Ok((x.clone(), ctx.valid.clone())),
        PaddedFrames::Reference => {
            Ok((x.mask_frames(&ctx.lengths)?, scope.graph().fill([ctx.batch, ctx.time], 1.0)?))
        }
    }
}

/// The means of `value`'s products over all frames, over the frames up to the end of each frame's chunk, or,
/// for the next chunk of a stream, over all frames so far.
pub(super) fn summarize(
    scope: &Scope,
    value: &Tensor,
    mask: &Tensor,
    op: PomAggregate,
    chunk: Option<usize>,
    stream: Option<&Tensor>,
) -> Result<Tensor> {
    let (batch, time) = (value.dims()[0], value.dims()[1]);
    if let Some(inverse_frames) = stream {
        // The state is the sum and not the mean, so that chunks may differ in length.
        let sum = value.pom_aggregate(mask, op)?.scale(time as f32)?;
        let state = scope.graph().stored(state_name(scope, "sum"), sum.spec().clone());
        return state.accumulate(&sum)?.mul(inverse_frames);
    }
    let Some(chunk) = chunk else { return value.pom_aggregate(mask, op) };
    let op = PomAggregate { causal: true, ..op };
    if chunk == 1 {
        return value.pom_aggregate(mask, op);
    }
    let chunks = time.div_ceil(chunk);
    let missing = chunks * chunk - time;
    let running = value.pad(1, 0, missing)?.pom_aggregate(&mask.pad(1, 0, missing)?, op)?;
    let width = running.shape().last();
    let ends = running.reshape([batch, chunks, chunk, width])?.slice(2, chunk - 1, 1)?;
    let repeated = scope.graph().fill([batch, chunks, chunk, width], 0.0)?.add(&ends)?;
    repeated.reshape([batch, chunks * chunk, width])?.slice(1, 0, time)
}
