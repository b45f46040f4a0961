//! The mean over the time of the products of activated projections.

use std::ops::Range;
use std::sync::Arc;

use ndarray::{Array3, IxDyn};

use super::Chunks;
use super::aggregate_backward::PomAggregateBackward;
use crate::error::Result;
use crate::exec::{Operand, Recorder};
use crate::graph::Tensor;
use crate::ops::map::ActivationKind;
use crate::ops::mask::MaskWeights;
use crate::ops::reduce::Sum;
use crate::ops::{Array, Op, Vjp, expect, mismatch};
use crate::shader::pom::{pom_aggregate, pom_carry, pom_running_mean};
use crate::shape::{DType, Spec};

/// The largest degree that the kernels hold in registers.
const MAX_DEGREE: usize = 8;

/// From p [batch, time, degree·e] and a mask [batch, time] of real weights: g_i = f(p_i) for the `degree`
/// parts p_i of e columns, H_1 = g_1, H_m = g_m ∘ H_{m−1}, and the mean Σ_t mask_t H_m,t / Σ_t mask_t of all
/// m side by side, [batch, degree·e]; `causal`, the mean over the frames up to each, [batch, time, degree·e].
/// Where the weights sum to 0, so does the mean. Frames of weight 0 are not read. `powers`: p is the one part
/// [batch, time, e] of which all factors are made, so that H_m = f(p)^m.
///
/// The second result [batch, time] serves the derivative: mask_t / Σ_s mask_s, `causal` 1 / Σ_{s ≤ t} mask_s.
/// The derivative is that of p alone; it needs p and no product.
#[derive(Debug, Clone, Copy)]
pub struct PomAggregate {
    /// Number of factors of the largest product, 1 to 8.
    pub degree: usize,
    /// Whether a frame sees only itself and those before it.
    pub causal: bool,
    /// f.
    pub activation: ActivationKind,
    /// Whether all factors are the same.
    pub powers: bool,
}

impl PomAggregate {
    /// Products of GELUs, as in the paper.
    pub fn products(degree: usize, causal: bool) -> Self {
        Self { degree, causal, activation: ActivationKind::Gelu, powers: false }
    }

    /// Powers of one activation.
    pub fn powers(degree: usize, causal: bool, activation: ActivationKind) -> Self {
        Self { degree, causal, activation, powers: true }
    }

    /// The products themselves, [batch, time, degree·e].
    fn products_of(&self, p: &Tensor) -> Result<Tensor> {
        let [_, _, e] = self.sizes(p.dims());
        let mut products: Vec<Tensor> = Vec::with_capacity(self.degree);
        let mut factor = p.clone();
        for m in 0..self.degree {
            if m < self.parts() {
                factor = p.slice(2, m * e, e)?.activation(self.activation)?;
            }
            products.push(match products.last() {
                Some(below) => below.mul(&factor)?,
                None => factor.clone(),
            });
        }
        Tensor::concat(&products.iter().collect::<Vec<_>>(), 2)
    }

    /// Parts of p.
    pub(super) fn parts(&self) -> usize {
        if self.powers { 1 } else { self.degree }
    }

    /// Batch, time and e.
    pub(super) fn sizes(&self, p: &[usize]) -> [usize; 3] {
        [p[0], p[1], p[2] / self.parts()]
    }

    /// The shape of the means.
    pub(super) fn means(&self, p: &[usize]) -> Spec {
        let [batch, time, e] = self.sizes(p);
        if self.causal {
            Spec::f32([batch, time, self.degree * e])
        } else {
            Spec::f32([batch, self.degree * e])
        }
    }

    /// The ranges of utterances that a dispatch takes; the causal means are as wide as `degree` parts.
    pub(super) fn tiles(&self, rec: &Recorder, [batch, time, e]: [usize; 3]) -> Result<Vec<Range<usize>>> {
        let parts = self.parts();
        rec.utterances(batch, time * parts * e, if self.causal { self.degree / parts } else { 1 })
    }

    /// Checks p and mask, the first two of `inputs`.
    pub(super) fn check(&self, op: &str, inputs: &[Spec]) -> Result<()> {
        let p = inputs[0].shape.dims();
        let fits =
            (1..=MAX_DEGREE).contains(&self.degree) && p.len() == 3 && p[2].is_multiple_of(self.parts());
        if !fits || p[2] == 0 || inputs[1].shape.dims() != &p[..2] {
            let wanted = format!(
                "takes p [batch, time, {}·e] and mask [batch, time], degree 1 to {MAX_DEGREE}, here {}",
                self.parts(),
                self.degree
            );
            return Err(mismatch(op, inputs, &wanted));
        }
        Ok(())
    }

    pub(super) fn constants(&self) -> [(&'static str, f64); 4] {
        [
            ("DEGREE", self.degree as f64),
            ("PARTS", self.parts() as f64),
            ("KIND", self.activation.code()),
            ("CAUSAL", f64::from(u8::from(self.causal))),
        ]
    }
}

impl Op for PomAggregate {
    fn name(&self) -> &'static str {
        "pom_aggregate"
    }

    fn infer(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        expect(self.name(), inputs, &[DType::F32; 2])?;
        self.check(self.name(), inputs)?;
        Ok(vec![self.means(inputs[0].shape.dims()), inputs[1].clone()])
    }

    fn record(&self, rec: &mut Recorder, inputs: &[Operand], outputs: &[Operand]) -> Result<()> {
        let (p, mask, mean, weights) = (&inputs[0], &inputs[1], &outputs[0], &outputs[1]);
        let [batch, time, e] = self.sizes(p.dims());
        MaskWeights { causal: self.causal }.record(rec, &inputs[1..], &outputs[1..])?;

        let (chunks, stride) = (Chunks::to_sum(time), self.degree * e);
        if self.causal && time == 0 {
            return Ok(());
        }
        let summed = self.causal || chunks.count == 1;
        let sums = if summed { mean.clone() } else { rec.scratch(DType::F32, [batch, chunks.count, stride]) };
        for tile in self.tiles(rec, [batch, time, e])? {
            let params = pom_aggregate::Params {
                first: tile.start as u32,
                batches: tile.len() as u32,
                time: time as u32,
                columns: e as u32,
                chunk: chunks.size as u32,
                chunks: chunks.count as u32,
            };
            let tile_p = p.rows(&tile, time * self.parts() * e);
            let (weight, tile_sums) = match self.causal {
                true => (mask, sums.rows(&tile, time * stride)),
                false => (weights, sums.clone()),
            };
            let bindings = [&tile_p, weight, &tile_sums];
            rec.dispatch(
                pom_aggregate::VARIANTS,
                &self.constants(),
                &params,
                &bindings,
                tile.len() * chunks.count * e,
            )?;
            rec.work((tile.len() * time * stride) as f64 * 40.0);
            if !self.causal {
                continue;
            }
            let carry = rec.scratch(DType::F32, [tile.len(), chunks.count, stride]);
            let carry_params = pom_carry::Params {
                batches: tile.len() as u32,
                rows: time as u32,
                columns: stride as u32,
                chunk: chunks.size as u32,
                chunks: chunks.count as u32,
            };
            rec.dispatch(
                pom_carry::VARIANTS,
                &[],
                &carry_params,
                &[&tile_sums, &carry],
                tile.len() * stride,
            )?;
            let mean_params = pom_running_mean::Params {
                first: params.first,
                batches: params.batches,
                time: params.time,
                columns: stride as u32,
                chunk: params.chunk,
                chunks: params.chunks,
            };
            let bindings = [&carry, weights, &tile_sums];
            rec.dispatch(
                pom_running_mean::VARIANTS,
                &[],
                &mean_params,
                &bindings,
                tile.len() * chunks.count * stride,
            )?;
        }
        if summed { Ok(()) } else { Sum { first: 1, last: 2 }.record(rec, &[sums], &outputs[..1]) }
    }

    fn reference(&self, inputs: &[&Array]) -> Vec<Array> {
        let (p, mask) = (inputs[0], inputs[1]);
        let [batch, time, e] = self.sizes(p.shape());
        let inverse = |x: f64| if x == 0.0 { 0.0 } else { 1.0 / x };
        let mut running = Array3::zeros((batch, time, self.degree * e));
        let mut last = Array::zeros(IxDyn(&[batch, self.degree * e]));
        let mut weights = Array::zeros(IxDyn(&[batch, time]));
        for b in 0..batch {
            let (mut weight, mut sums) = (0.0, vec![0.0; self.degree * e]);
            for t in 0..time {
                weight += mask[[b, t]];
                for column in 0..e {
                    let mut product = mask[[b, t]];
                    for m in (0..self.degree).map(|m| m * e + column) {
                        let part = if self.powers { column } else { m };
                        product *= self.activation.value_and_derivative(p[[b, t, part]]).0;
                        sums[m] += product;
                        running[[b, t, m]] = sums[m] * inverse(weight);
                        last[[b, m]] = running[[b, t, m]];
                    }
                }
                weights[[b, t]] = inverse(weight);
            }
            if !self.causal {
                (0..time).for_each(|t| weights[[b, t]] = mask[[b, t]] * inverse(weight));
            }
        }
        vec![if self.causal { running.into_dyn() } else { last }, weights]
    }

    fn vjp(&self, ctx: &Vjp) -> Result<Vec<Option<Tensor>>> {
        let backward = PomAggregateBackward(*self);
        let dp = ctx.inputs[0].apply(backward, &[&ctx.inputs[1], &ctx.outputs[1], ctx.dy()?])?;
        Ok(vec![Some(dp), None])
    }
}

impl Tensor {
    /// The means over the time of the products of this tensor's parts, weighted by `mask`; see [`PomAggregate`].
    /// A mask [batch, queries, time] asks for means of their own for each of `queries` places,
    /// [batch, queries, degree·e]; then the products are kept in memory.
    ///
    /// # Errors
    /// When this tensor is not [batch, time, degree·e], or [batch, time, e] for powers, or `mask` neither of
    /// these, or it is of the second kind and `op` is causal.
    pub fn pom_aggregate(&self, mask: &Tensor, op: PomAggregate) -> Result<Tensor> {
        if let [batch, _, time] = *mask.dims() {
            let specs = [self.spec().clone(), Spec::f32([batch, time])];
            op.check("pom_aggregate", &specs)?;
            if op.causal {
                return Err(mismatch(
                    "pom_aggregate",
                    &specs,
                    "takes a mask [batch, time] where it is causal",
                ));
            }
            return op.products_of(self)?.masked_mean(mask);
        }
        Ok(self.graph().apply(Arc::new(op), &[self, mask])?.swap_remove(0))
    }
}
