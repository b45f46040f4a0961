//! Softmax over the last axis, and its logarithm.

use ndarray::Axis;

use crate::error::Result;
use crate::exec::{Operand, Recorder};
use crate::graph::Tensor;
use crate::ops::{Array, Op, Vjp, expect, mismatch};
use crate::shader::norm::{softmax, softmax_backward};
use crate::shape::{DType, Spec};

/// y = exp(x)/Σ exp(x) over the last axis; dx = y ∘ (dy − Σ y ∘ dy).
#[derive(Debug, Clone, Copy)]
pub struct Softmax;

/// y = x − log Σ exp(x) over the last axis; dx = dy − exp(y)·Σ dy.
#[derive(Debug, Clone, Copy)]
pub struct LogSoftmax;

fn infer(op: &str, inputs: &[Spec]) -> Result<Vec<Spec>> {
    expect(op, inputs, &[DType::F32])?;
    if inputs[0].shape.rank() == 0 || inputs[0].shape.last() == 0 {
        return Err(mismatch(op, inputs, "a last axis of 1 or more"));
    }
    Ok(vec![inputs[0].clone()])
}

fn record(rec: &mut Recorder, x: &Operand, y: &Operand, logarithm: bool) -> Result<()> {
    let n = x.shape().last();
    let constants = [("LOGARITHM", f64::from(u8::from(logarithm)))];
    for tile in rec.tiles(x.shape().rows(), &[n])? {
        let params = softmax::Params { rows: tile.len() as u32, columns: n as u32 };
        let bindings = [&x.rows(&tile, n), &y.rows(&tile, n)];
        rec.dispatch(softmax::VARIANTS, &constants, &params, &bindings, tile.len())?;
    }
    Ok(())
}

fn log_softmax(x: &Array) -> Array {
    let mut y = x.clone();
    for mut row in y.rows_mut() {
        let top = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let logarithm = top + row.mapv(|x| (x - top).exp()).sum().ln();
        row.mapv_inplace(|x| x - logarithm);
    }
    y
}

impl Op for Softmax {
    fn name(&self) -> &'static str {
        "softmax"
    }

    fn infer(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        infer(self.name(), inputs)
    }

    fn record(&self, rec: &mut Recorder, inputs: &[Operand], outputs: &[Operand]) -> Result<()> {
        record(rec, &inputs[0], &outputs[0], false)
    }

    fn reference(&self, inputs: &[&Array]) -> Vec<Array> {
        vec![log_softmax(inputs[0]).mapv(f64::exp)]
    }

    fn vjp(&self, ctx: &Vjp) -> Result<Vec<Option<Tensor>>> {
        Ok(vec![Some(ctx.outputs[0].apply(SoftmaxBackward { logarithm: false }, &[ctx.dy()?])?)])
    }
}

impl Op for LogSoftmax {
    fn name(&self) -> &'static str {
        "log_softmax"
    }

    fn infer(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        infer(self.name(), inputs)
    }

    fn record(&self, rec: &mut Recorder, inputs: &[Operand], outputs: &[Operand]) -> Result<()> {
        record(rec, &inputs[0], &outputs[0], true)
    }

    fn reference(&self, inputs: &[&Array]) -> Vec<Array> {
        vec![log_softmax(inputs[0])]
    }

    fn vjp(&self, ctx: &Vjp) -> Result<Vec<Option<Tensor>>> {
        Ok(vec![Some(ctx.outputs[0].apply(SoftmaxBackward { logarithm: true }, &[ctx.dy()?])?)])
    }
}

/// y, dy → dx, of softmax or of its logarithm.
#[derive(Debug, Clone, Copy)]
struct SoftmaxBackward {
    logarithm: bool,
}

impl Op for SoftmaxBackward {
    fn name(&self) -> &'static str {
        "softmax_backward"
    }

    fn infer(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        expect(self.name(), inputs, &[DType::F32; 2])?;
        Ok(vec![inputs[0].clone()])
    }

    fn record(&self, rec: &mut Recorder, inputs: &[Operand], outputs: &[Operand]) -> Result<()> {
        let n = inputs[0].shape().last();
        let constants = [("LOGARITHM", f64::from(u8::from(self.logarithm)))];
        for tile in rec.tiles(inputs[0].shape().rows(), &[n])? {
            let params = softmax_backward::Params { rows: tile.len() as u32, columns: n as u32 };
            let [y, dy] = [0, 1].map(|i: usize| inputs[i].rows(&tile, n));
            let bindings = [&y, &dy, &outputs[0].rows(&tile, n)];
            rec.dispatch(softmax_backward::VARIANTS, &constants, &params, &bindings, tile.len())?;
        }
        Ok(())
    }

    fn reference(&self, inputs: &[&Array]) -> Vec<Array> {
        let (y, dy) = (inputs[0], inputs[1]);
        let along = |weights: Array| {
            let axis = Axis(y.ndim().saturating_sub(1));
            weights.sum_axis(axis).insert_axis(axis)
        };
        vec![match self.logarithm {
            true => dy - &(y.mapv(f64::exp) * along(dy.clone())),
            false => y * &(dy - &along(y * dy)),
        }]
    }
}

impl Tensor {
    /// exp(x)/Σ exp(x) over the last axis.
    ///
    /// # Errors
    /// When the tensor is not f32 or its last axis is empty.
    pub fn softmax(&self) -> Result<Tensor> {
        self.apply(Softmax, &[])
    }

    /// x − log Σ exp(x) over the last axis.
    ///
    /// # Errors
    /// When the tensor is not f32 or its last axis is empty.
    pub fn log_softmax(&self) -> Result<Tensor> {
        self.apply(LogSoftmax, &[])
    }
}
