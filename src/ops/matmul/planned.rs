//! The products that plans make of others.

use std::sync::Arc;

use half::f16;

use super::MatMul;
use crate::error::{Error, Result};
use crate::exec::{Operand, Recorder};
use crate::graph::Tensor;
use crate::ops::map::ActivationKind;
use crate::ops::{Array, NodeOp, Op, Vjp};
use crate::shape::Spec;

/// A [`MatMul`] as a plan may compute it: of operands rounded to halves, and with an activation of the result. It has no
/// derivative of its own: a plan is made when derivatives are nodes already.
#[derive(Debug, Clone, Copy)]
pub struct PlannedMatMul {
    /// The product.
    pub product: MatMul,
    /// Whether A and B are rounded to the nearest halves, what is beyond the largest to infinity, with sums and result in
    /// f32 as of cooperative matrices: [`Compute::F16`](crate::recipe::Compute::F16).
    pub halves: bool,
    /// What is applied to every element of the result.
    pub activation: Option<ActivationKind>,
}

impl From<MatMul> for PlannedMatMul {
    fn from(product: MatMul) -> Self {
        Self { product, halves: false, activation: None }
    }
}

impl Op for PlannedMatMul {
    fn name(&self) -> &'static str {
        "planned_matmul"
    }

    fn infer(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        self.product.infer(inputs)
    }

    fn record(&self, rec: &mut Recorder, inputs: &[Operand], outputs: &[Operand]) -> Result<()> {
        let sizes = self.product.sizes(inputs[0].dims(), inputs[1].dims());
        let sizes =
            sizes.ok_or_else(|| Error::shape(self.name(), "operands changed since they were checked"))?;
        super::kernel::record(rec, self, sizes, inputs, &outputs[0])
    }

    fn reference(&self, inputs: &[&Array]) -> Vec<Array> {
        let nearest = |x: &f64| if self.halves { f64::from(f16::from_f64(*x)) } else { *x };
        let rounded: Vec<Array> = inputs.iter().take(2).map(|operand| operand.map(nearest)).collect();
        let operands: Vec<&Array> = rounded.iter().chain(inputs.iter().skip(2).copied()).collect();
        let mut results = self.product.reference(&operands);
        if let Some(kind) = self.activation {
            results.iter_mut().for_each(|result| result.mapv_inplace(|x| kind.value_and_slope(x).0));
        }
        results
    }

    fn vjp(&self, _: &Vjp) -> Result<Vec<Option<Tensor>>> {
        Err(Error::invalid(
            "a planned_matmul has no derivative; differentiate the matmul that a plan makes it of",
        ))
    }

    fn with_activation(&self, kind: ActivationKind) -> Option<Arc<NodeOp>> {
        match self.activation {
            None => Some(Arc::new(Self { activation: Some(kind), ..*self })),
            Some(_) => None,
        }
    }
}
