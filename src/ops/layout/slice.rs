//! Slices of an axis, and zeros around one.

use ndarray::{Axis, Slice as Range};

use super::copy::{around, record_axis};
use super::fill;
use crate::error::Result;
use crate::exec::{Operand, Recorder};
use crate::graph::Tensor;
use crate::ops::{Array, Op, Vjp, mismatch};
use crate::shape::Spec;

/// The places `start .. start + len` of one axis, for either type; dx is dy between zeros.
#[derive(Debug, Clone, Copy)]
pub struct Slice {
    /// Which axis.
    pub axis: usize,
    /// Its first place.
    pub start: usize,
    /// How many places.
    pub len: usize,
}

/// Zeros before and after one axis, for either type; dx is the slice between them.
#[derive(Debug, Clone, Copy)]
pub struct Pad {
    /// Which axis.
    pub axis: usize,
    /// Zeros before it.
    pub before: usize,
    /// Zeros after it.
    pub after: usize,
}

impl Op for Slice {
    fn name(&self) -> &'static str {
        "slice"
    }

    fn infer(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        let Self { axis, start, len } = *self;
        match inputs {
            [x] if axis < x.shape.rank() && start.saturating_add(len) <= x.shape.dims()[axis] => {
                let mut dims = x.shape.dims().to_vec();
                dims[axis] = len;
                Ok(vec![Spec { shape: dims.into(), dtype: x.dtype }])
            }
            _ => {
                Err(mismatch(self.name(), inputs, &format!("axis {axis} of {start} + {len} or more places")))
            }
        }
    }

    fn record(&self, rec: &mut Recorder, inputs: &[Operand], outputs: &[Operand]) -> Result<()> {
        let [outer, size, inner] = around(inputs[0].shape(), self.axis);
        let (x, y) = ((&inputs[0], size, self.start), (&outputs[0], self.len, 0));
        record_axis(rec, [outer, self.len, inner], x, y)
    }

    fn reference(&self, inputs: &[&Array]) -> Vec<Array> {
        let range = Range::from(self.start..self.start + self.len);
        vec![inputs[0].slice_axis(Axis(self.axis), range).as_standard_layout().into_owned()]
    }

    fn vjp(&self, ctx: &Vjp) -> Result<Vec<Option<Tensor>>> {
        let after = ctx.inputs[0].dims()[self.axis] - self.start - self.len;
        Ok(vec![Some(ctx.dy()?.pad(self.axis, self.start, after)?)])
    }

    fn recomputable(&self) -> bool {
        true
    }
}

impl Op for Pad {
    fn name(&self) -> &'static str {
        "pad"
    }

    fn infer(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        match inputs {
            [x] if self.axis < x.shape.rank() => {
                let mut dims = x.shape.dims().to_vec();
                dims[self.axis] += self.before + self.after;
                Ok(vec![Spec { shape: dims.into(), dtype: x.dtype }])
            }
            _ => Err(mismatch(self.name(), inputs, &format!("one operand with an axis {}", self.axis))),
        }
    }

    fn record(&self, rec: &mut Recorder, inputs: &[Operand], outputs: &[Operand]) -> Result<()> {
        fill::record(rec, &outputs[0], 0.0)?;
        let [outer, len, inner] = around(inputs[0].shape(), self.axis);
        let y = (&outputs[0], outputs[0].dims()[self.axis], self.before);
        record_axis(rec, [outer, len, inner], (&inputs[0], len, 0), y)
    }

    fn reference(&self, inputs: &[&Array]) -> Vec<Array> {
        let mut dims = inputs[0].shape().to_vec();
        let len = dims[self.axis];
        dims[self.axis] += self.before + self.after;
        let mut y = Array::zeros(dims);
        y.slice_axis_mut(Axis(self.axis), Range::from(self.before..self.before + len)).assign(inputs[0]);
        vec![y]
    }

    fn vjp(&self, ctx: &Vjp) -> Result<Vec<Option<Tensor>>> {
        Ok(vec![Some(ctx.dy()?.slice(self.axis, self.before, ctx.inputs[0].dims()[self.axis])?)])
    }
}

impl Tensor {
    /// The places `start .. start + len` of an axis.
    ///
    /// # Errors
    /// When the axis or the places do not exist.
    pub fn slice(&self, axis: usize, start: usize, len: usize) -> Result<Tensor> {
        self.apply(Slice { axis, start, len }, &[])
    }

    /// `before` and `after` zeros around an axis.
    ///
    /// # Errors
    /// When the axis does not exist.
    pub fn pad(&self, axis: usize, before: usize, after: usize) -> Result<Tensor> {
        self.apply(Pad { axis, before, after }, &[])
    }
}
