//! Permutations of the axes.

use super::copy::{Place, record_box};
use crate::error::Result;
use crate::exec::{Operand, Recorder};
use crate::graph::Tensor;
use crate::ops::{Array, Op, Vjp, mismatch};
use crate::shape::Spec;

/// y whose axis `i` is axis `axes[i]` of x, for up to 4 axes and either type; dx is dy under the inverse.
#[derive(Debug, Clone)]
pub struct Permute {
    /// The axis of x that each axis of y is.
    pub axes: Vec<usize>,
}

impl Permute {
    fn inverse(&self) -> Vec<usize> {
        let mut inverse = vec![0; self.axes.len()];
        self.axes.iter().enumerate().for_each(|(own, &of)| inverse[of] = own);
        inverse
    }
}

impl Op for Permute {
    fn name(&self) -> &'static str {
        "permute"
    }

    fn infer(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        let mut sorted = self.axes.clone();
        sorted.sort_unstable();
        match inputs {
            [x] if sorted.len() <= 4 && sorted.iter().copied().eq(0..x.shape.rank()) => {
                let dims: Vec<usize> = self.axes.iter().map(|&axis| x.shape.dims()[axis]).collect();
                Ok(vec![Spec { shape: dims.into(), dtype: x.dtype }])
            }
            _ => {
                let wanted = format!("one operand of at most 4 axes, which {:?} permutes", self.axes);
                Err(mismatch(self.name(), inputs, &wanted))
            }
        }
    }

    fn record(&self, rec: &mut Recorder, inputs: &[Operand], outputs: &[Operand]) -> Result<()> {
        let lead = 4 - self.axes.len();
        let own = outputs[0].shape().strides();
        let theirs = inputs[0].shape().strides();
        let mut sizes = [1; 4];
        let mut from = Place { first: 0, strides: [0, 0, 0, 1] };
        let mut to = from;
        for (i, &axis) in self.axes.iter().enumerate() {
            sizes[lead + i] = outputs[0].dims()[i];
            from.strides[lead + i] = theirs[axis];
            to.strides[lead + i] = own[i];
        }
        record_box(rec, sizes, (&inputs[0], from), (&outputs[0], to))
    }

    fn reference(&self, inputs: &[&Array]) -> Vec<Array> {
        vec![inputs[0].view().permuted_axes(self.axes.as_slice()).as_standard_layout().into_owned()]
    }

    fn vjp(&self, ctx: &Vjp) -> Result<Vec<Option<Tensor>>> {
        Ok(vec![Some(ctx.dy()?.permute(&self.inverse())?)])
    }

    fn recomputable(&self) -> bool {
        true
    }
}

impl Tensor {
    /// The tensor whose axis `i` is axis `axes[i]` of this one.
    ///
    /// # Errors
    /// When `axes` is no permutation of the axes, or there are more than 4.
    pub fn permute(&self, axes: &[usize]) -> Result<Tensor> {
        self.apply(Permute { axes: axes.to_vec() }, &[])
    }

    /// The last two axes exchanged.
    ///
    /// # Errors
    /// When there are fewer than 2 axes or more than 4.
    pub fn transpose(&self) -> Result<Tensor> {
        let rank = self.shape().rank();
        let mut axes: Vec<usize> = (0..rank).collect();
        let [.., a, b] = axes.as_mut_slice() else {
            return Err(mismatch("permute", std::slice::from_ref(self.spec()), "2 axes or more"));
        };
        std::mem::swap(a, b);
        self.permute(&axes)
    }
}
