//! The same memory under another shape.

use crate::error::Result;
use crate::exec::{Operand, Recorder};
use crate::graph::Tensor;
use crate::ops::{Alias, Array, Op, Vjp, mismatch, shaped};
use crate::shape::{Shape, Spec};

/// A view of the operand with another shape of as many elements.
#[derive(Debug, Clone)]
pub struct Reshape(pub Shape);

impl Op for Reshape {
    fn name(&self) -> &'static str {
        "reshape"
    }

    fn infer(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        match inputs {
            [x] if x.shape.elements() == self.0.elements() => {
                Ok(vec![Spec { shape: self.0.clone(), dtype: x.dtype }])
            }
            _ => Err(mismatch(self.name(), inputs, &format!("one operand with the elements of {}", self.0))),
        }
    }

    fn record(&self, _: &mut Recorder, _: &[Operand], _: &[Operand]) -> Result<()> {
        Ok(())
    }

    fn reference(&self, inputs: &[&Array]) -> Vec<Array> {
        let flat: Vec<f64> = inputs[0].iter().copied().collect();
        vec![shaped(self.0.dims(), flat)]
    }

    fn vjp(&self, ctx: &Vjp) -> Result<Vec<Option<Tensor>>> {
        Ok(vec![Some(ctx.dy()?.reshape(ctx.inputs[0].shape().clone())?)])
    }

    fn alias(&self, _: usize) -> Option<Alias> {
        Some(Alias::View(0))
    }

    fn recomputable(&self) -> bool {
        true
    }
}

impl Tensor {
    /// The same elements under another shape.
    ///
    /// # Errors
    /// When the number of elements differs.
    pub fn reshape(&self, shape: impl Into<Shape>) -> Result<Tensor> {
        self.apply(Reshape(shape.into()), &[])
    }
}
