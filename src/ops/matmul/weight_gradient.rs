//! The gradients of a linear layer's weight and bias.

use std::sync::Arc;

use super::kernel::{are_rounded_as_read, most_parts, parts};
use super::{MatMul, PlannedMatMul};
use crate::error::Result;
use crate::exec::{Operand, Recorder, Work};
use crate::ops::norm::LayerNorm;
use crate::ops::reduce::Sum;
use crate::ops::{Array, NodeOp, Op, Prologue, expect, mismatch};
use crate::shader::matmul::{weight_gradient, weight_gradient_sum};
use crate::shape::{DType, Spec};

/// dweight = α·dyᵀ·x and dbias = Σ_rows dy, of dy [rows, outputs] and x [.., inputs]: what a linear layer
/// y = α·x·weightᵀ + bias gives its parameters. The long sums over the rows are made in one kernel.
///
/// With a norm, x is what it makes of its own operand, which stands in place of x; its weight and bias `[inputs]`, and the mean
/// and rstd `[rows]` that it found, follow.
#[derive(Debug, Clone, Copy)]
pub struct WeightGradient {
    /// α.
    pub alpha: f32,
    /// Whether dy and x are rounded to f16 for dweight, as of [`PlannedMatMul`]; dbias is the sum of what is not rounded.
    pub f16_inputs: bool,
    /// The norm that makes x.
    pub norm: Option<LayerNorm>,
}

impl WeightGradient {
    fn planned(&self) -> PlannedMatMul {
        let matmul = MatMul { transpose_a: true, transpose_b: false, alpha: self.alpha };
        PlannedMatMul { f16_inputs: self.f16_inputs, ..matmul.into() }
    }

    /// The operands as two matrices and the norm's.
    fn matrices(inputs: &[Operand]) -> [Operand; 2] {
        [0, 1].map(|index: usize| {
            let shape = inputs[index].shape();
            let spec = Spec { shape: [shape.rows(), shape.last()].into(), dtype: inputs[index].spec.dtype };
            Operand { spec, ..inputs[index].clone() }
        })
    }

    /// In parts by one kernel, where there is one for the device and enough of a sum; tells whether there was.
    fn record_in_parts(&self, rec: &mut Recorder, inputs: &[Operand], outputs: &[Operand]) -> Result<bool> {
        let [dy, x] = Self::matrices(inputs);
        let (rows, m, n) = (dy.dims()[0], dy.dims()[1], x.dims()[1]);
        let (size, most) = (m * n + m, most_parts(rec, rows, m * n + m));
        let flag = |is_set: bool| f64::from(u8::from(is_set));
        let constants = [
            ("TRANSPOSE_A", 1.0),
            ("F16_INPUTS", flag(self.f16_inputs)),
            // The normalized x is not f16.
            ("ROUNDED", flag(self.f16_inputs && (self.norm.is_some() || are_rounded_as_read(&dy, &x)))),
            ("NORMALIZED", flag(self.norm.is_some())),
        ];
        let params = |parts: usize| {
            let k = rows.div_ceil(parts);
            let parts = rows.div_ceil(k.max(1));
            weight_gradient::Params {
                m: m as u32,
                n: n as u32,
                k: k as u32,
                batch: parts as u32,
                missing_k: (parts * k - rows) as u32,
                batch_stride_a: (m * k) as u32,
                batch_stride_b: (n * k) as u32,
                batch_stride_c: size as u32,
                alpha: self.alpha,
                ..weight_gradient::Params::default()
            }
        };
        if most < 2 || rec.tiles(rows, &[m, n])?.len() > 1 {
            return Ok(false);
        }
        let work = Work::Tiles { batch: most, m, n };
        let Ok(choice) = rec.choose(weight_gradient::VARIANTS, &constants, &params(most), &[&dy, &x], work)
        else {
            return Ok(false);
        };
        let params = params(parts([m, n], most, choice.variant));
        let parts = params.batch as usize;
        let work = Work::Tiles { batch: parts, m, n };
        let Ok(choice) = rec.choose(weight_gradient::VARIANTS, &constants, &params, &[&dy, &x], work) else {
            return Ok(false);
        };
        let is_set_aside = |name: &String| name == choice.variant.kernel.name;
        if parts < 2 || rec.capabilities().set_aside.iter().any(is_set_aside) {
            return Ok(false);
        }
        let partial = rec.scratch(DType::F32, [parts, size]);
        // x is bound for what is not there, and not read.
        let nothing = x.unread();
        let of_norm = |index: usize| inputs.get(index).unwrap_or(&nothing);
        let bindings = [&dy, &x, of_norm(4), of_norm(5), of_norm(2), of_norm(3), &partial];
        rec.dispatch(weight_gradient::VARIANTS, &constants, &params, &bindings, work)?;
        rec.flops(2 * (m * n * rows) as u64);
        let params =
            weight_gradient_sum::Params { parts: parts as u32, size: (m * n) as u32, width: m as u32 };
        let bindings = [&partial, &outputs[0], &outputs[1]];
        rec.dispatch(weight_gradient_sum::VARIANTS, &[], &params, &bindings, size)?;
        Ok(true)
    }
}

impl Op for WeightGradient {
    fn name(&self) -> &'static str {
        "weight_gradient"
    }

    fn infer(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        expect(self.name(), inputs, &[DType::F32; 6][..if self.norm.is_some() { 6 } else { 2 }])?;
        let (dy, x) = (&inputs[0].shape, &inputs[1].shape);
        let [of_columns, of_rows] = [x.last(), x.rows()].map(|size| Spec::f32([size]));
        let of_norm = [&of_columns, &of_columns, &of_rows, &of_rows];
        let fits = inputs[2..].iter().zip(of_norm).all(|(got, wanted)| got == wanted);
        if dy.rank() != 2 || x.rank() == 0 || dy.rows() != x.rows() || !fits {
            let wanted = "dy [rows, outputs] and x [.., inputs] of as many rows; with a norm its weight and bias [inputs], mean \
                          and rstd [rows]";
            return Err(mismatch(self.name(), inputs, wanted));
        }
        Ok(vec![Spec::f32([dy.last(), x.last()]), Spec::f32([dy.last()])])
    }

    fn record(&self, rec: &mut Recorder, inputs: &[Operand], outputs: &[Operand]) -> Result<()> {
        if self.record_in_parts(rec, inputs, outputs)? {
            return Ok(());
        }
        let [dy, mut x] = Self::matrices(inputs);
        if let Some(norm) = self.norm {
            let made = rec.scratch(DType::F32, x.shape().clone());
            let [mean, rstd] = [0, 1].map(|_| rec.scratch(DType::F32, [x.dims()[0]]));
            norm.record(rec, &[x, inputs[2].clone(), inputs[3].clone()], &[made.clone(), mean, rstd])?;
            x = made;
        }
        self.planned().record(rec, &[dy.clone(), x], &outputs[..1])?;
        Sum { first: 0, last: 1 }.record(rec, &[dy], &outputs[1..])
    }

    fn with_f16_inputs(&self) -> Option<Arc<NodeOp>> {
        Some(Arc::new(Self { f16_inputs: true, ..*self }))
    }

    fn with_prologue(&self, prologue: Prologue, operand: usize) -> Option<Arc<NodeOp>> {
        let Prologue::LayerNorm(norm) = prologue;
        let fits = operand == 1 && self.norm.is_none();
        fits.then(|| Arc::new(Self { norm: Some(norm), ..*self }) as Arc<NodeOp>)
    }

    fn reference(&self, inputs: &[&Array]) -> Vec<Array> {
        let columns = inputs[1].shape().last().copied().unwrap_or(1);
        let mut x =
            inputs[1].clone().into_shape_with_order((inputs[0].shape()[0], columns)).expect("rows of x");
        if self.norm.is_some() {
            let (weight, bias, mean, rstd) = (inputs[2], inputs[3], inputs[4], inputs[5]);
            x.indexed_iter_mut().for_each(|((row, column), x)| {
                *x = (*x - mean[[row]]) * rstd[[row]] * weight[[column]] + bias[[column]];
            });
        }
        let weight = self.planned().reference(&[inputs[0], &x.into_dyn()]).remove(0);
        vec![weight, inputs[0].sum_axis(ndarray::Axis(0))]
    }
}
