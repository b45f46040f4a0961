//! The gate of the aggregate.

use std::sync::Arc;

use super::Chunks;
use crate::error::Result;
use crate::exec::{Operand, Recorder};
use crate::graph::Tensor;
use crate::ops::map::ActivationKind;
use crate::ops::reduce::Sum;
use crate::ops::{Array, Op, Vjp, expect, mismatch};
use crate::shader::pom::{pom_select, pom_select_backward};
use crate::shape::{DType, Spec};

/// y = σ(z) ∘ h for z [batch, time, n] and h [batch, n], one row for all frames, or [batch, time, n].
///
/// dz = σ(z)·(1 − σ(z)) ∘ h ∘ dy and dh = σ(z) ∘ dy, summed over the time where h has one row.
#[derive(Debug, Clone, Copy)]
pub struct PomSelect;

/// Whether h has a row a frame; checks the first two operands.
fn per_frame(op: &str, inputs: &[Spec]) -> Result<bool> {
    match (inputs[0].shape.dims(), inputs[1].shape.dims()) {
        (z @ [_, _, n], h) if z == h && *n > 0 => Ok(true),
        ([batch, _, n], h) if h == [*batch, *n] && *n > 0 => Ok(false),
        _ => Err(mismatch(op, inputs, "takes z [batch, time, n] and h [batch, n] or [batch, time, n]")),
    }
}

fn constants(inputs: &[Operand]) -> [(&'static str, f64); 1] {
    [("PER_FRAME", f64::from(u8::from(inputs[1].dims().len() == 3)))]
}

impl Op for PomSelect {
    fn name(&self) -> &'static str {
        "pom_select"
    }

    fn infer(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        expect(self.name(), inputs, &[DType::F32; 2])?;
        per_frame(self.name(), inputs)?;
        Ok(vec![inputs[0].clone()])
    }

    fn record(&self, rec: &mut Recorder, inputs: &[Operand], outputs: &[Operand]) -> Result<()> {
        let (z, h) = (&inputs[0], &inputs[1]);
        let [batch, time, n] = [0, 1, 2].map(|axis: usize| z.dims()[axis]);
        let chunks = Chunks::to_map(time);
        for tile in rec.utterances(batch, time * n, 1)? {
            let params = pom_select::Params {
                first: tile.start as u32,
                batches: tile.len() as u32,
                time: time as u32,
                columns: n as u32,
                chunk: chunks.size as u32,
                chunks: chunks.count as u32,
            };
            let rows = |operand: &Operand| operand.rows(&tile, time * n);
            let tile_h = if h.shape() == z.shape() { rows(h) } else { h.clone() };
            let bindings = [&rows(z), &tile_h, &rows(&outputs[0])];
            rec.dispatch(
                pom_select::VARIANTS,
                &constants(inputs),
                &params,
                &bindings,
                tile.len() * chunks.count * n,
            )?;
        }
        Ok(())
    }

    fn reference(&self, inputs: &[&Array]) -> Vec<Array> {
        vec![gate(inputs[0]) * spread(inputs[0], inputs[1])]
    }

    fn vjp(&self, ctx: &Vjp) -> Result<Vec<Option<Tensor>>> {
        let operands = [&ctx.inputs[0], &ctx.inputs[1], ctx.dy()?];
        let grads = ctx.inputs[0].graph().apply(Arc::new(PomSelectBackward), &operands)?;
        Ok(grads.into_iter().map(Some).collect())
    }

    fn recomputable(&self) -> bool {
        true
    }

    fn in_place(&self, _: usize) -> &[usize] {
        &[0]
    }
}

fn gate(z: &Array) -> Array {
    z.mapv(|z| ActivationKind::Sigmoid.value_and_derivative(z).0)
}

/// h with a row a frame.
fn spread(z: &Array, h: &Array) -> Array {
    let h = if h.ndim() == 2 { h.clone().insert_axis(ndarray::Axis(1)) } else { h.clone() };
    Array::zeros(z.raw_dim()) + h
}

/// dz and dh of [`PomSelect`] from z, h and dy.
#[derive(Debug, Clone, Copy)]
struct PomSelectBackward;

impl Op for PomSelectBackward {
    fn name(&self) -> &'static str {
        "pom_select_backward"
    }

    fn infer(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        expect(self.name(), inputs, &[DType::F32; 3])?;
        per_frame(self.name(), inputs)?;
        if inputs[2] != inputs[0] {
            return Err(mismatch(self.name(), inputs, "takes dy as z"));
        }
        Ok(inputs[..2].to_vec())
    }

    fn record(&self, rec: &mut Recorder, inputs: &[Operand], outputs: &[Operand]) -> Result<()> {
        let (z, h, dy, dz, dh) = (&inputs[0], &inputs[1], &inputs[2], &outputs[0], &outputs[1]);
        let [batch, time, n] = [0, 1, 2].map(|axis: usize| z.dims()[axis]);
        let per_frame = h.dims().len() == 3;
        let chunks = if per_frame { Chunks::to_map(time) } else { Chunks::to_sum(time) };
        let summed = per_frame || chunks.count == 1;
        let sums = if summed { dh.clone() } else { rec.scratch(DType::F32, [batch, chunks.count, n]) };
        for tile in rec.utterances(batch, time * n, 1)? {
            let params = pom_select_backward::Params {
                first: tile.start as u32,
                batches: tile.len() as u32,
                time: time as u32,
                columns: n as u32,
                chunk: chunks.size as u32,
                chunks: chunks.count as u32,
            };
            let rows = |operand: &Operand| operand.rows(&tile, time * n);
            let [tile_h, tile_sums] =
                if per_frame { [rows(h), rows(&sums)] } else { [h.clone(), sums.clone()] };
            let bindings = [&rows(z), &tile_h, &rows(dy), &rows(dz), &tile_sums];
            rec.dispatch(
                pom_select_backward::VARIANTS,
                &constants(inputs),
                &params,
                &bindings,
                tile.len() * chunks.count * n,
            )?;
        }
        if summed { Ok(()) } else { Sum { first: 1, last: 2 }.record(rec, &[sums], &outputs[1..]) }
    }

    fn reference(&self, inputs: &[&Array]) -> Vec<Array> {
        let (z, h, dy) = (inputs[0], inputs[1], inputs[2]);
        let dz = z.mapv(|z| ActivationKind::Sigmoid.value_and_derivative(z).1) * spread(z, h) * dy;
        let dh = gate(z) * dy;
        vec![dz, if h.ndim() == 2 { dh.sum_axis(ndarray::Axis(1)) } else { dh }]
    }

    fn in_place(&self, output: usize) -> &[usize] {
        if output == 0 { &[2] } else { &[] }
    }
}

impl Tensor {
    /// σ(z) ∘ h for this tensor z [batch, time, n] and h [batch, n] or [batch, time, n].
    ///
    /// # Errors
    /// When the shapes do not fit.
    pub fn pom_select(&self, h: &Tensor) -> Result<Tensor> {
        self.apply(PomSelect, &[h])
    }
}
