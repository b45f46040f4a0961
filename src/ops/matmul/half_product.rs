//! The product of operands rounded to halves.

use half::f16;

use super::MatMul;
use crate::error::{Error, Result};
use crate::exec::{Operand, Recorder};
use crate::graph::Tensor;
use crate::ops::{Array, Op, Vjp};
use crate::shape::Spec;

/// [`MatMul`] of operands that are rounded to the nearest halves, what is beyond the largest to infinity, with sums and
/// result in f32: what cooperative matrices compute. Plans put it in the place of [`MatMul`] where
/// [`Compute::F16`](crate::recipe::Compute::F16) asks for it; it has no derivative of its own.
#[derive(Debug, Clone, Copy)]
pub struct HalfMatMul(pub MatMul);

impl Op for HalfMatMul {
    fn name(&self) -> &'static str {
        "half_matmul"
    }

    fn infer(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        self.0.infer(inputs)
    }

    fn record(&self, rec: &mut Recorder, inputs: &[Operand], outputs: &[Operand]) -> Result<()> {
        self.0.record_with(rec, inputs, outputs, true)
    }

    fn reference(&self, inputs: &[&Array]) -> Vec<Array> {
        let nearest = |x: &f64| f64::from(f16::from_f64(*x));
        let rounded: Vec<Array> = inputs.iter().take(2).map(|operand| operand.map(nearest)).collect();
        let operands: Vec<&Array> = rounded.iter().chain(inputs.iter().skip(2).copied()).collect();
        self.0.reference(&operands)
    }

    fn vjp(&self, _: &Vjp) -> Result<Vec<Option<Tensor>>> {
        Err(Error::invalid(
            "half_matmul has no derivative; differentiate matmul, whose place it takes in a plan",
        ))
    }
}
