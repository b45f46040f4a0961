//! Concatenation along one axis.

use std::sync::Arc;

use ndarray::Axis;

use super::copy::{around, record_axis};
use crate::error::{Error, Result};
use crate::exec::{Operand, Recorder};
use crate::graph::Tensor;
use crate::ops::{Array, Op, Vjp, mismatch};
use crate::shape::Spec;

/// The operands, one after the other along one axis, for either type; each dx is a slice of dy.
#[derive(Debug, Clone, Copy)]
pub struct Concat {
    /// Which axis; the operands agree in all others.
    pub axis: usize,
}

impl Op for Concat {
    fn name(&self) -> &'static str {
        "concat"
    }

    fn infer(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        let wanted = format!("operands of one type that agree in all axes but {}", self.axis);
        let refuse = || Err(mismatch(self.name(), inputs, &wanted));
        let Some(first) = inputs.first().filter(|first| self.axis < first.shape.rank()) else {
            return refuse();
        };
        let mut dims = first.shape.dims().to_vec();
        for other in &inputs[1..] {
            let size = other.shape.dims().get(self.axis).copied().unwrap_or(0);
            let whole = std::mem::replace(&mut dims[self.axis], size);
            if other.dtype != first.dtype || other.shape.dims() != dims {
                return refuse();
            }
            dims[self.axis] = whole + size;
        }
        Ok(vec![Spec { shape: dims.into(), dtype: first.dtype }])
    }

    fn record(&self, rec: &mut Recorder, inputs: &[Operand], outputs: &[Operand]) -> Result<()> {
        let mut before = 0;
        let whole = outputs[0].dims()[self.axis];
        for x in inputs {
            let [outer, len, inner] = around(x.shape(), self.axis);
            record_axis(rec, [outer, len, inner], (x, len, 0), (&outputs[0], whole, before))?;
            before += len;
        }
        Ok(())
    }

    fn reference(&self, inputs: &[&Array]) -> Vec<Array> {
        let views: Vec<_> = inputs.iter().map(|x| x.view()).collect();
        vec![ndarray::concatenate(Axis(self.axis), &views).expect("shapes that `infer` has checked")]
    }

    fn vjp(&self, ctx: &Vjp) -> Result<Vec<Option<Tensor>>> {
        let mut before = 0;
        let slices = ctx.inputs.iter().zip(&ctx.needed).map(|(x, &needed)| {
            let len = x.dims()[self.axis];
            before += len;
            if needed { ctx.dy()?.slice(self.axis, before - len, len).map(Some) } else { Ok(None) }
        });
        slices.collect()
    }

    fn recomputable(&self) -> bool {
        true
    }
}

impl Tensor {
    /// The tensors, one after the other along `axis`.
    ///
    /// # Errors
    /// When there are none, or they differ in type or in another axis.
    pub fn concat(tensors: &[&Tensor], axis: usize) -> Result<Tensor> {
        let Some(first) = tensors.first() else {
            return Err(Error::shape("concat", "takes one operand or more, got none".to_owned()));
        };
        let mut outputs = first.graph().apply(Arc::new(Concat { axis }), tensors)?;
        Ok(outputs.swap_remove(0))
    }
}
