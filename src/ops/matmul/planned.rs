//! The matmuls that plans make of others.

use std::sync::Arc;

use half::f16;

use super::MatMul;
use crate::error::{Error, Result};
use crate::exec::{Operand, Recorder};
use crate::graph::Tensor;
use crate::ops::map::ActivationKind;
use crate::ops::random::Dropout;
use crate::ops::{Array, Epilogue, NodeOp, Op, Vjp, mismatch};
use crate::shape::Spec;

/// A [`MatMul`] as a plan may compute it: of operands rounded to f16, and with what follows it element by element, in
/// the order of the fields. It has no derivative of its own: a plan is made when derivatives are nodes already.
///
/// The operands are A, B, the bias where there is one, rng where there is dropout, and the addend.
#[derive(Debug, Clone, Copy)]
pub struct PlannedMatMul {
    /// The matmul.
    pub matmul: MatMul,
    /// Whether A and B are rounded to the nearest f16, what is beyond the largest to infinity, with sums and result in
    /// f32 as of cooperative matrices: [`Compute::F16`](crate::exec::Compute::F16).
    pub f16_inputs: bool,
    /// What is applied to every element of the result.
    pub activation: Option<ActivationKind>,
    /// Which elements are dropped.
    pub dropout: Option<Dropout>,
    /// The factor of every element.
    pub scale: f32,
    /// The number of the operand of the result's shape that is added: the last.
    pub addend: Option<usize>,
}

impl From<MatMul> for PlannedMatMul {
    fn from(matmul: MatMul) -> Self {
        Self { matmul, f16_inputs: false, activation: None, dropout: None, scale: 1.0, addend: None }
    }
}

/// The operands of a [`PlannedMatMul`] by what they are.
#[derive(Debug)]
pub(super) struct Parts<'a, T> {
    /// A, B and the bias: those of the matmul.
    pub matmul: &'a [T],
    pub rng: Option<&'a T>,
    pub addend: Option<&'a T>,
}

impl PlannedMatMul {
    /// Whether every element is the matmul's.
    pub(super) fn is_plain(&self) -> bool {
        self.activation.is_none() && self.dropout.is_none() && self.scale == 1.0 && self.addend.is_none()
    }

    pub(super) fn parts<'a, T>(&self, operands: &'a [T]) -> Parts<'a, T> {
        let (rest, addend) = match (self.addend, operands) {
            (Some(_), [rest @ .., addend]) => (rest, Some(addend)),
            _ => (operands, None),
        };
        let (matmul, rng) = match (self.dropout, rest) {
            (Some(_), [matmul @ .., rng]) => (matmul, Some(rng)),
            _ => (rest, None),
        };
        Parts { matmul, rng, addend }
    }
}

impl Op for PlannedMatMul {
    fn name(&self) -> &'static str {
        "planned_matmul"
    }

    fn infer(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        let parts = self.parts(inputs);
        let results = self.matmul.infer(parts.matmul)?;
        if let (Some(dropout), Some(rng)) = (self.dropout, parts.rng) {
            dropout.infer(&[results[0].clone(), rng.clone()])?;
        }
        let last = self.addend.is_none_or(|at| at + 1 == inputs.len());
        if !last || parts.addend.is_some_and(|addend| *addend != results[0]) {
            return Err(mismatch(self.name(), inputs, "an addend like the result, as the last operand"));
        }
        Ok(results)
    }

    fn record(&self, rec: &mut Recorder, inputs: &[Operand], outputs: &[Operand]) -> Result<()> {
        let sizes = self.matmul.sizes(inputs[0].dims(), inputs[1].dims());
        let sizes =
            sizes.ok_or_else(|| Error::shape(self.name(), "operands changed since they were checked"))?;
        super::kernel::record(rec, self, sizes, inputs, &outputs[0])
    }

    fn reference(&self, inputs: &[&Array]) -> Vec<Array> {
        let nearest = |x: &f64| if self.f16_inputs { f64::from(f16::from_f64(*x)) } else { *x };
        let parts = self.parts(inputs);
        let rounded: Vec<Array> = parts.matmul.iter().take(2).map(|operand| operand.map(nearest)).collect();
        let operands: Vec<&Array> = rounded.iter().chain(parts.matmul.iter().skip(2).copied()).collect();
        let mut results = self.matmul.reference(&operands);
        if let Some(kind) = self.activation {
            results.iter_mut().for_each(|result| result.mapv_inplace(|x| kind.value_and_derivative(x).0));
        }
        if let (Some(dropout), Some(&rng)) = (self.dropout, parts.rng) {
            results = dropout.reference(&[&results[0], rng]);
        }
        results.iter_mut().for_each(|result| *result *= f64::from(self.scale));
        if let Some(&addend) = parts.addend {
            results.iter_mut().for_each(|result| *result += addend);
        }
        results
    }

    fn vjp(&self, _: &Vjp) -> Result<Vec<Option<Tensor>>> {
        Err(Error::invalid(
            "a planned_matmul has no derivative; differentiate the matmul that a plan makes it of",
        ))
    }

    fn in_place(&self, _: usize) -> &[usize] {
        self.addend.as_slice()
    }

    /// Weight gradients, whose long sums may be made of parts, have none.
    fn with_epilogue(&self, epilogue: Epilogue, operands: usize) -> Option<Arc<NodeOp>> {
        let unscaled = self.dropout.is_none() && self.scale == 1.0;
        if self.matmul.transpose_a || self.addend.is_some() {
            return None;
        }
        let with = match epilogue {
            Epilogue::Activation(kind) if unscaled && self.activation.is_none() => {
                Self { activation: Some(kind), ..*self }
            }
            Epilogue::Dropout(dropout) if unscaled => Self { dropout: Some(dropout), ..*self },
            Epilogue::Scale(factor) => Self { scale: self.scale * factor, ..*self },
            Epilogue::Add => Self { addend: Some(operands), ..*self },
            Epilogue::Activation(_) | Epilogue::Dropout(_) => return None,
        };
        Some(Arc::new(with))
    }
}
