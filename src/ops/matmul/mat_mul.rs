//! C = α·op(A)·op(B) + bias.

use std::sync::Arc;

use ndarray::{Array2, ArrayView2, Ix2};

use super::{PlannedMatMul, WeightGradient};
use crate::error::Result;
use crate::exec::{Operand, Recorder};
use crate::graph::Tensor;
use crate::ops::{Array, Epilogue, NodeOp, Op, Vjp, expect, mismatch, shaped};
use crate::shape::{DType, Spec};

/// C = α·op(A)·op(B) (+ bias), where op transposes the last two axes if its flag is set.
///
/// A is [.., m, k] (or [.., k, m]) and B [k, n] (or [n, k]), shared by all of A's leading axes; or both
/// have the same leading axes and each is a matmul of its own. The bias is `[n]`.
#[derive(Debug, Clone, Copy)]
pub struct MatMul {
    /// A is stored [.., k, m].
    pub transpose_a: bool,
    /// B is stored [.., n, k].
    pub transpose_b: bool,
    /// α.
    pub alpha: f32,
}

/// Sizes of the matmuls.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    pub batch: usize,
    pub m: usize,
    pub n: usize,
    pub k: usize,
}

impl MatMul {
    /// C = A·B.
    pub const PLAIN: Self = Self { transpose_a: false, transpose_b: false, alpha: 1.0 };

    pub(super) fn sizes(&self, a: &[usize], b: &[usize]) -> Option<Sizes> {
        let pair = |dims: &[usize], transposed: bool| match dims {
            [.., rows, columns] if transposed => Some((*columns, *rows)),
            [.., rows, columns] => Some((*rows, *columns)),
            _ => None,
        };
        let ((mut m, k), (inner, n)) = (pair(a, self.transpose_a)?, pair(b, self.transpose_b)?);
        let lead = &a[..a.len() - 2];
        let mut batch = lead.iter().product();
        if b.len() == 2 && (!self.transpose_a || a.len() == 2) {
            (batch, m) = (1, m * batch);
        } else if lead != &b[..b.len() - 2] {
            return None;
        }
        (k == inner).then_some(Sizes { batch, m, n, k })
    }
}

impl Op for MatMul {
    fn name(&self) -> &'static str {
        "matmul"
    }

    fn infer(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        expect(self.name(), inputs, &vec![DType::F32; inputs.len().clamp(2, 3)])?;
        let (a, b) = (inputs[0].shape.dims(), inputs[1].shape.dims());
        let wanted =
            format!("[.., m, k] and [k, n] (transposed: {}, {})", self.transpose_a, self.transpose_b);
        let sizes = self.sizes(a, b).ok_or_else(|| mismatch(self.name(), inputs, &wanted))?;
        if inputs.get(2).is_some_and(|bias| bias.shape.dims() != [sizes.n]) {
            return Err(mismatch(self.name(), inputs, "a bias [n]"));
        }
        let mut dims = a[..a.len() - 2].to_vec();
        dims.extend([if self.transpose_a { a[a.len() - 1] } else { a[a.len() - 2] }, sizes.n]);
        Ok(vec![Spec::f32(dims)])
    }

    fn record(&self, rec: &mut Recorder, inputs: &[Operand], outputs: &[Operand]) -> Result<()> {
        PlannedMatMul::from(*self).record(rec, inputs, outputs)
    }

    fn with_f16_inputs(&self) -> Option<Arc<NodeOp>> {
        Some(Arc::new(PlannedMatMul { f16_inputs: true, ..(*self).into() }))
    }

    fn with_epilogue(&self, epilogue: Epilogue, operands: usize) -> Option<Arc<NodeOp>> {
        PlannedMatMul::from(*self).with_epilogue(epilogue, operands)
    }

    fn reference(&self, inputs: &[&Array]) -> Vec<Array> {
        let (a, b) = (inputs[0], inputs[1]);
        let sizes = self.sizes(a.shape(), b.shape());
        let Sizes { batch, m, n, k } = sizes.expect("shapes that `infer` has checked");
        let matrix =
            |array: &Array, index: usize, rows: usize, columns: usize, transposed: bool| -> Array2<f64> {
                let flat: Vec<f64> = array.iter().copied().collect();
                let part = &flat[index * rows * columns..(index + 1) * rows * columns];
                let shape = if transposed { (columns, rows) } else { (rows, columns) };
                let view = ArrayView2::from_shape(shape, part).expect("a part of this shape").to_owned();
                if transposed { view.reversed_axes() } else { view }
            };
        let mut c = Vec::with_capacity(batch * m * n);
        for index in 0..batch {
            let left = matrix(a, index, m, k, self.transpose_a);
            let right = matrix(b, if b.ndim() == 2 { 0 } else { index }, k, n, self.transpose_b);
            let mut c_part = left.dot(&right) * f64::from(self.alpha);
            if let Some(bias) = inputs.get(2) {
                c_part += &bias.view();
            }
            c.extend(c_part.into_dimensionality::<Ix2>().iter().flat_map(|p| p.iter().copied()));
        }
        let mut dims = a.shape()[..a.ndim() - 2].to_vec();
        dims.extend([a.shape()[a.ndim() - if self.transpose_a { 1 } else { 2 }], n]);
        vec![shaped(&dims, c)]
    }

    fn vjp(&self, ctx: &Vjp) -> Result<Vec<Option<Tensor>>> {
        let (a, b, dy) = (&ctx.inputs[0], &ctx.inputs[1], ctx.dy()?);
        let matmul = |x: &Tensor, transpose_a: bool, y: &Tensor, transpose_b: bool| {
            x.apply(MatMul { transpose_a, transpose_b, alpha: self.alpha }, &[y])
        };
        let mut grads = vec![None; ctx.inputs.len()];
        if ctx.needed[0] {
            grads[0] = Some(match (self.transpose_a, self.transpose_b) {
                (false, transposed) => matmul(dy, false, b, !transposed)?,
                (true, transposed) => matmul(b, transposed, dy, true)?,
            });
        }
        if ctx.needed[1] {
            // A shared B gathers the rows of all leading axes in one matmul.
            let folded = |x: &Tensor| match b.shape().rank() {
                2 => x.reshape([x.shape().rows(), x.shape().last()]),
                _ => Ok(x.clone()),
            };
            let (a, dy) = (folded(a)?, folded(dy)?);
            let has_bias = ctx.needed.get(2) == Some(&true);
            match (self.transpose_a, self.transpose_b) {
                (false, true) if has_bias && b.shape().rank() == 2 => {
                    let op = WeightGradient { alpha: self.alpha, f16_inputs: false, norm: None };
                    let both = dy.graph().apply(Arc::new(op), &[&dy, &a])?;
                    both.into_iter().zip(&mut grads[1..]).for_each(|(grad, of)| *of = Some(grad));
                    return Ok(grads);
                }
                (transposed, false) => grads[1] = Some(matmul(&a, !transposed, &dy, false)?),
                (transposed, true) => grads[1] = Some(matmul(&dy, true, &a, transposed)?),
            }
        }
        if ctx.needed.get(2) == Some(&true) {
            grads[2] = Some(dy.sum_to(ctx.inputs[2].shape())?);
        }
        Ok(grads)
    }
}

impl Tensor {
    /// A·B.
    ///
    /// # Errors
    /// When the sizes do not fit.
    pub fn matmul(&self, other: &Tensor) -> Result<Tensor> {
        self.apply(MatMul::PLAIN, &[other])
    }

    /// x·Wᵀ + b, with W [outputs, inputs].
    ///
    /// # Errors
    /// When the sizes do not fit.
    pub fn linear(&self, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
        let op = MatMul { transpose_b: true, ..MatMul::PLAIN };
        match bias {
            Some(bias) => self.apply(op, &[weight, bias]),
            None => self.apply(op, &[weight]),
        }
    }
}
