//! Gradient of the aggregate with respect to its projections.

use super::{Chunks, PomAggregate};
use crate::error::Result;
use crate::exec::{Operand, Recorder};
use crate::ops::{Array, Op, expect, mismatch};
use crate::shader::pom::{pom_aggregate_backward, pom_carry, pom_chunk_sum};
use crate::shape::{DType, Spec};

/// dp from p, mask, the forward's weights [batch, time] and dy: dH_m,t = weight_t·dy_m, causal
/// mask_t·Σ_{s ≥ t} weight_s·dy_m,s, and dp_m = f'(p_m)·H_{m−1}·(dH_m + g_{m+1}·(dH_{m+1} + …)), of powers
/// their sum.
#[derive(Debug, Clone, Copy)]
pub(super) struct PomAggregateBackward(pub(super) PomAggregate);

impl Op for PomAggregateBackward {
    fn name(&self) -> &'static str {
        "pom_aggregate_backward"
    }

    fn infer(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        expect(self.name(), inputs, &[DType::F32; 4])?;
        self.0.check(self.name(), inputs)?;
        let p = inputs[0].shape.dims();
        if inputs[2] != inputs[1] || inputs[3] != self.0.means(p) {
            return Err(mismatch(self.name(), inputs, "takes p, mask, weights as the mask and dy"));
        }
        Ok(vec![inputs[0].clone()])
    }

    fn record(&self, rec: &mut Recorder, inputs: &[Operand], outputs: &[Operand]) -> Result<()> {
        let (p, mask, weights, dy) = (&inputs[0], &inputs[1], &inputs[2], &inputs[3]);
        let [batch, time, e] = self.0.sizes(p.dims());
        if time == 0 {
            return Ok(());
        }
        let stride = self.0.degree * e;
        let chunks = if self.0.causal { Chunks::to_sum(time) } else { Chunks::to_map(time) };
        for tile in self.0.tiles(rec, [batch, time, e])? {
            let params = pom_aggregate_backward::Params {
                first: tile.start as u32,
                batches: tile.len() as u32,
                time: time as u32,
                columns: e as u32,
                chunk: chunks.size as u32,
                chunks: chunks.count as u32,
            };
            let parts = time * self.0.parts() * e;
            let (tile_p, tile_dp) = (p.rows(&tile, parts), outputs[0].rows(&tile, parts));
            let (weight, start, rate, tile_dy) = if self.0.causal {
                let tile_dy = dy.rows(&tile, time * stride);
                let carry = carry(rec, params, stride, &tile_dy, weights)?;
                (mask, carry, weights, tile_dy)
            } else {
                (weights, dy.clone(), weights, dy.clone())
            };
            let bindings = [&tile_p, weight, &start, rate, &tile_dy, &tile_dp];
            rec.dispatch(
                pom_aggregate_backward::VARIANTS,
                &self.0.constants(),
                &params,
                &bindings,
                tile.len() * chunks.count * e,
            )?;
            rec.work((tile.len() * time * stride) as f64 * 60.0);
        }
        Ok(())
    }

    fn reference(&self, inputs: &[&Array]) -> Vec<Array> {
        let (p, mask, weights, dy) = (inputs[0], inputs[1], inputs[2], inputs[3]);
        let [batch, time, e] = self.0.sizes(p.shape());
        let degree = self.0.degree;
        let mut dp = Array::zeros(p.raw_dim());
        for b in 0..batch {
            let mut d = vec![0.0; degree * e];
            for t in (0..time).rev() {
                for column in 0..e {
                    let (mut product, mut factors) = (1.0, Vec::with_capacity(degree));
                    for m in (0..degree).map(|m| m * e + column) {
                        d[m] =
                            if self.0.causal { d[m] + weights[[b, t]] * dy[[b, t, m]] } else { dy[[b, m]] };
                        let part = if self.0.powers { column } else { m };
                        let (value, derivative) = self.0.activation.value_and_derivative(p[[b, t, part]]);
                        factors.push((m, part, value, derivative * product));
                        product *= value;
                    }
                    let weight = if self.0.causal { mask[[b, t]] } else { weights[[b, t]] };
                    let mut above = 0.0;
                    for (m, part, value, derivative) in factors.into_iter().rev() {
                        above += weight * d[m];
                        dp[[b, t, part]] += above * derivative;
                        above *= value;
                    }
                }
            }
        }
        vec![dp]
    }

    fn in_place(&self, _: usize) -> &[usize] {
        &[0]
    }
}

/// What the chunks behind each chunk add to dH: [batches, chunks, stride].
fn carry(
    rec: &mut Recorder,
    tile: pom_aggregate_backward::Params,
    stride: usize,
    dy: &Operand,
    weights: &Operand,
) -> Result<Operand> {
    let (batches, chunks) = (tile.batches as usize, tile.chunks as usize);
    let [sums, carry] = [(); 2].map(|()| rec.scratch(DType::F32, [batches, chunks, stride]));
    let params = pom_chunk_sum::Params {
        first: tile.first,
        batches: tile.batches,
        time: tile.time,
        columns: stride as u32,
        chunk: tile.chunk,
        chunks: tile.chunks,
    };
    rec.dispatch(pom_chunk_sum::VARIANTS, &[], &params, &[dy, weights, &sums], batches * chunks * stride)?;
    let params = pom_carry::Params {
        batches: tile.batches,
        rows: tile.chunks,
        columns: stride as u32,
        chunk: 1,
        chunks: tile.chunks,
    };
    rec.dispatch(pom_carry::VARIANTS, &[("REVERSE", 1.0)], &params, &[&sums, &carry], batches * stride)?;
    Ok(carry)
}
