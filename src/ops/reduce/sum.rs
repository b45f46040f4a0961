//! Sums over one run of neighboring axes.

use std::ops::Range;

use crate::error::Result;
use crate::exec::{Operand, Recorder};
use crate::graph::Tensor;
use crate::ops::{Array, Op, Vjp, expect, mismatch};
use crate::shader::reduce::sum;
use crate::shape::{DType, Shape, Spec};

/// y[o, i] = Σ_r x[o, r, i], where `r` runs over the axes `first..last`, which stay with size 1.
#[derive(Debug, Clone, Copy)]
pub struct Sum {
    /// First axis that is summed.
    pub first: usize,
    /// One past the last axis that is summed.
    pub last: usize,
}

/// Elements that one invocation sums.
const CHUNK: usize = 64;

/// Elements up to which one invocation sums all there are in place of chunks that another dispatch sums.
const LAST: usize = 256;

impl Sum {
    fn split(&self, shape: &Shape) -> [usize; 3] {
        let dims = shape.dims();
        let of = |part: &[usize]| part.iter().product::<usize>();
        [of(&dims[..self.first]), of(&dims[self.first..self.last]), of(&dims[self.last..])]
    }
}

/// Ranges of the summed rows that the device binds at once, of whole chunks each; all of them where they are not
/// the outermost.
fn parts(rec: &Recorder, [outer, reduce, inner]: [usize; 3]) -> Vec<Range<usize>> {
    let most = rec.capabilities().max_binding as usize / 4;
    // The sums of so many rows end at a multiple of 64 elements, where every device can bind the next.
    let step = CHUNK * (64 >> inner.trailing_zeros().min(6));
    let length = most / inner.max(1) / step * step;
    if outer != 1 || reduce * inner <= most || length == 0 {
        return std::iter::once(0..reduce).collect();
    }
    (0..reduce).step_by(length).map(|start| start..reduce.min(start + length)).collect()
}

impl Op for Sum {
    fn name(&self) -> &'static str {
        "sum"
    }

    fn infer(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        expect(self.name(), inputs, &[DType::F32])?;
        if self.first >= self.last || self.last > inputs[0].shape.rank() {
            return Err(mismatch(self.name(), inputs, &format!("axes {}..{}", self.first, self.last)));
        }
        let mut dims = inputs[0].shape.dims().to_vec();
        dims[self.first..self.last].fill(1);
        Ok(vec![Spec::f32(dims)])
    }

    fn record(&self, rec: &mut Recorder, inputs: &[Operand], outputs: &[Operand]) -> Result<()> {
        let [outer, mut reduce, inner] = self.split(inputs[0].shape());
        let mut x = inputs[0].clone();
        loop {
            let parts = parts(rec, [outer, reduce, inner]);
            let chunk = if reduce <= LAST && parts.len() == 1 { LAST } else { CHUNK };
            let chunks = reduce.div_ceil(chunk).max(1);
            let y = match chunks {
                1 => outputs[0].clone(),
                _ => rec.scratch(DType::F32, [outer, chunks, inner]),
            };
            for rows in parts {
                let own = rows.start / chunk..rows.end.div_ceil(chunk).max(1);
                let params = sum::Params {
                    outer: outer as u32,
                    reduce: rows.len() as u32,
                    inner: inner as u32,
                    chunk: chunk as u32,
                    chunks: own.len() as u32,
                };
                let (x, y) = (x.rows(&rows, outer * inner), y.rows(&own, outer * inner));
                rec.dispatch(sum::VARIANTS, &[], &params, &[&x, &y], outer * own.len() * inner)?;
            }
            if chunks == 1 {
                return Ok(());
            }
            (x, reduce) = (y, chunks);
        }
    }

    fn reference(&self, inputs: &[&Array]) -> Vec<Array> {
        let mut y = (*inputs[0]).clone();
        for axis in self.first..self.last {
            y = y.sum_axis(ndarray::Axis(axis)).insert_axis(ndarray::Axis(axis));
        }
        vec![y]
    }

    fn vjp(&self, ctx: &Vjp) -> Result<Vec<Option<Tensor>>> {
        let zeros = ctx.inputs[0].graph().fill(ctx.inputs[0].shape().clone(), 0.0)?;
        Ok(vec![Some(zeros.add(ctx.dy()?)?)])
    }
}

impl Tensor {
    /// Sums the axes `first..last`, which stay with size 1.
    ///
    /// # Errors
    /// When there are no such axes.
    pub fn sum(&self, first: usize, last: usize) -> Result<Tensor> {
        self.apply(Sum { first, last }, &[])
    }

    /// Sums the axes that broadcasting repeated, so that the result has `shape`.
    ///
    /// # Errors
    /// When `shape` does not broadcast to this tensor's.
    pub fn sum_to(&self, shape: &Shape) -> Result<Tensor> {
        let mut sum = self.clone();
        let lead = self.shape().rank() - shape.rank().min(self.shape().rank());
        let repeated = |axis: usize| axis < lead || shape.dims()[axis - lead] == 1 && self.dims()[axis] != 1;
        let mut axis = 0;
        while axis < self.shape().rank() {
            let first = axis;
            while axis < self.shape().rank() && repeated(axis) {
                axis += 1;
            }
            if axis > first {
                sum = sum.sum(first, axis)?;
            }
            axis += 1;
        }
        if sum.shape() == shape { Ok(sum) } else { sum.reshape(shape.clone()) }
    }
}
