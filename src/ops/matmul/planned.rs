//! The matmuls that plans make of others.

use std::sync::Arc;

use half::f16;

use super::MatMul;
use crate::error::{Error, Result};
use crate::exec::{Operand, Recorder};
use crate::graph::Tensor;
use crate::ops::finish::Finish;
use crate::ops::{Array, Epilogue, NodeOp, Op, Vjp};
use crate::shape::Spec;

/// A [`MatMul`] as a plan may compute it: of operands rounded to f16, and with what follows it element by element. It has
/// no derivative of its own: a plan is made when derivatives are nodes already.
///
/// The operands are A, B, the bias where there is one, and those of [`Finish`].
#[derive(Debug, Clone, Copy)]
pub struct PlannedMatMul {
    /// The matmul.
    pub matmul: MatMul,
    /// Whether A and B are rounded to the nearest f16, what is beyond the largest to infinity, with sums and result in
    /// f32 as of cooperative matrices: [`Compute::F16`](crate::exec::Compute::F16).
    pub f16_inputs: bool,
    /// The epilogue of the result.
    pub finish: Finish,
}

impl From<MatMul> for PlannedMatMul {
    fn from(matmul: MatMul) -> Self {
        Self { matmul, f16_inputs: false, finish: Finish::NONE }
    }
}

impl Op for PlannedMatMul {
    fn name(&self) -> &'static str {
        "planned_matmul"
    }

    fn infer(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        let results = self.matmul.infer(self.finish.parts(inputs).own)?;
        self.finish.check(self.name(), inputs, &results[0])?;
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
        let parts = self.finish.parts(inputs);
        let rounded: Vec<Array> = parts.own.iter().take(2).map(|operand| operand.map(nearest)).collect();
        let operands: Vec<&Array> = rounded.iter().chain(parts.own.iter().skip(2).copied()).collect();
        let result = self.matmul.reference(&operands).remove(0);
        vec![self.finish.reference(result, &parts)]
    }

    fn vjp(&self, _: &Vjp) -> Result<Vec<Option<Tensor>>> {
        Err(Error::invalid(
            "a planned_matmul has no derivative; differentiate the matmul that a plan makes it of",
        ))
    }

    fn in_place(&self, _: usize) -> &[usize] {
        self.finish.in_place()
    }

    /// Weight gradients, whose long sums may be made of parts, have none.
    fn with_epilogue(&self, epilogue: Epilogue, operands: usize) -> Option<Arc<NodeOp>> {
        if self.matmul.transpose_a {
            return None;
        }
        Some(Arc::new(Self { finish: self.finish.with(epilogue, operands)?, ..*self }))
    }
}
