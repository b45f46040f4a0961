//! The gated linear unit.

use crate::error::Result;
use crate::exec::{Operand, Recorder};
use crate::graph::Tensor;
use crate::ops::{Array, Op, Vjp, expect, mismatch};
use crate::shader::map::{glu, glu_backward};
use crate::shape::{DType, Spec};

/// y = a ∘ σ(b) with x = [a | b] along the last axis: x [.., 2d] → y [.., d].
///
/// da = dy ∘ σ(b), db = dy ∘ a ∘ σ(b) ∘ (1 − σ(b)).
#[derive(Debug, Clone, Copy)]
pub struct Glu;

impl Op for Glu {
    fn name(&self) -> &'static str {
        "glu"
    }

    fn infer(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        expect(self.name(), inputs, &[DType::F32])?;
        let shape = &inputs[0].shape;
        if shape.rank() == 0 || !shape.last().is_multiple_of(2) {
            return Err(mismatch(self.name(), inputs, "a last axis of even size"));
        }
        Ok(vec![Spec::f32(shape.with_last(shape.last() / 2))])
    }

    fn record(&self, rec: &mut Recorder, inputs: &[Operand], outputs: &[Operand]) -> Result<()> {
        let half = outputs[0].shape().last();
        for tile in rec.tiles(outputs[0].shape().rows(), &[2 * half])? {
            let params = glu::Params { elements: (tile.len() * half) as u32, half: half as u32 };
            let bindings = [&inputs[0].rows(&tile, 2 * half), &outputs[0].rows(&tile, half)];
            rec.dispatch(glu::VARIANTS, &[], &params, &bindings, tile.len() * half)?;
        }
        Ok(())
    }

    fn reference(&self, inputs: &[&Array]) -> Vec<Array> {
        let (a, b) = split(inputs[0]);
        vec![a * b.mapv(sigmoid)]
    }

    fn vjp(&self, ctx: &Vjp) -> Result<Vec<Option<Tensor>>> {
        Ok(vec![Some(ctx.inputs[0].apply(GluBackward, &[ctx.dy()?])?)])
    }

    fn recomputable(&self) -> bool {
        true
    }
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

fn split(x: &Array) -> (Array, Array) {
    let axis = ndarray::Axis(x.ndim() - 1);
    let (a, b) = x.view().split_at(axis, x.len_of(axis) / 2);
    (a.to_owned(), b.to_owned())
}

/// dx of [`Glu`] from x and dy.
#[derive(Debug, Clone, Copy)]
struct GluBackward;

impl Op for GluBackward {
    fn name(&self) -> &'static str {
        "glu_backward"
    }

    fn infer(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        expect(self.name(), inputs, &[DType::F32; 2])?;
        Ok(vec![inputs[0].clone()])
    }

    fn record(&self, rec: &mut Recorder, inputs: &[Operand], outputs: &[Operand]) -> Result<()> {
        let half = inputs[1].shape().last();
        for tile in rec.tiles(inputs[1].shape().rows(), &[2 * half])? {
            let params = glu_backward::Params { elements: (tile.len() * half) as u32, half: half as u32 };
            let (x, dx) = (inputs[0].rows(&tile, 2 * half), outputs[0].rows(&tile, 2 * half));
            let bindings = [&x, &inputs[1].rows(&tile, half), &dx];
            rec.dispatch(glu_backward::VARIANTS, &[], &params, &bindings, tile.len() * half)?;
        }
        Ok(())
    }

    fn reference(&self, inputs: &[&Array]) -> Vec<Array> {
        let (a, b) = split(inputs[0]);
        let gate = b.mapv(sigmoid);
        let da = inputs[1] * &gate;
        let db = &da * &a * gate.mapv(|s| 1.0 - s);
        let mut dx = inputs[0].clone();
        let (mut left, mut right) =
            dx.view_mut().split_at(ndarray::Axis(a.ndim() - 1), a.shape()[a.ndim() - 1]);
        left.assign(&da);
        right.assign(&db);
        vec![dx]
    }

    fn in_place(&self, _: usize) -> &[usize] {
        &[0]
    }
}

impl Tensor {
    /// The first half of the last axis, gated by the sigmoid of the second.
    ///
    /// # Errors
    /// When the last axis is odd.
    pub fn glu(&self) -> Result<Tensor> {
        self.apply(Glu, &[])
    }
}
