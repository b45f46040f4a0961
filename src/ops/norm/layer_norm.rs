//! Layer normalization over the last axis.

use ndarray::{Array2, Axis};

use crate::error::Result;
use crate::exec::{Operand, Recorder};
use crate::graph::Tensor;
use crate::ops::{Array, Op, Vjp, expect, mismatch};
use crate::shader::norm::{layer_norm, layer_norm_backward, layer_norm_backward_weight};
use crate::shader::reduce::sum;
use crate::shape::{DType, Spec};

/// y = (x − mean)·rstd ∘ weight + bias over the last axis, rstd = 1/√(variance + eps), with the biased
/// variance.
///
/// Operands: x `[.., n]`, weight `[n]`, bias `[n]`. Results: y `[.., n]` and, saved for the derivative,
/// mean `[rows]` and rstd `[rows]`, which pass no gradient on. With g = dy ∘ weight and
/// x̂ = (x − mean)·rstd: dx = rstd·(g − mean(g) − x̂·mean(g ∘ x̂)), dweight = Σ_rows dy ∘ x̂,
/// dbias = Σ_rows dy.
#[derive(Debug, Clone, Copy)]
pub struct LayerNorm {
    /// Summand that keeps the variance away from 0.
    pub eps: f32,
}

/// x as rows.
fn rows(x: &Array) -> Array2<f64> {
    let n = x.shape().last().copied().unwrap_or(1);
    let flat: Vec<f64> = x.iter().copied().collect();
    Array2::from_shape_vec((flat.len() / n.max(1), n), flat).expect("rows of n elements")
}

fn shaped(rows: Array2<f64>, like: &Array) -> Array {
    let (flat, _) = rows.into_raw_vec_and_offset();
    crate::ops::shaped(like.shape(), flat)
}

impl Op for LayerNorm {
    fn name(&self) -> &'static str {
        "layer_norm"
    }

    fn infer(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        expect(self.name(), inputs, &[DType::F32; 3])?;
        let n = inputs[0].shape.last();
        if inputs[0].shape.rank() == 0 || n == 0 || inputs[1..].iter().any(|spec| spec.shape.dims() != [n]) {
            return Err(mismatch(self.name(), inputs, "x [.., n] with n above 0, weight [n] and bias [n]"));
        }
        let rows = inputs[0].shape.rows();
        Ok(vec![inputs[0].clone(), Spec::f32([rows]), Spec::f32([rows])])
    }

    fn record(&self, rec: &mut Recorder, inputs: &[Operand], outputs: &[Operand]) -> Result<()> {
        let n = inputs[0].shape().last();
        for tile in rec.tiles(inputs[0].shape().rows(), &[n])? {
            let params = layer_norm::Params {
                rows: tile.len() as u32,
                columns: n as u32,
                inverse: 1.0 / n as f32,
                eps: self.eps,
            };
            let (x, y) = (inputs[0].rows(&tile, n), outputs[0].rows(&tile, n));
            let [mean, rstd] = [1, 2].map(|i: usize| outputs[i].rows(&tile, 1));
            let bindings = [&x, &inputs[1], &inputs[2], &y, &mean, &rstd];
            rec.dispatch(layer_norm::VARIANTS, &[], &params, &bindings, tile.len())?;
        }
        Ok(())
    }

    fn reference(&self, inputs: &[&Array]) -> Vec<Array> {
        let (mut y, weight, bias) = (rows(inputs[0]), inputs[1], inputs[2]);
        let (mut means, mut rstds) = (Vec::new(), Vec::new());
        for mut row in y.rows_mut() {
            let mean = row.mean().unwrap_or(0.0);
            let rstd = 1.0 / (row.var(0.0) + f64::from(self.eps)).sqrt();
            for (c, value) in row.iter_mut().enumerate() {
                *value = (*value - mean) * rstd * weight[[c]] + bias[[c]];
            }
            means.push(mean);
            rstds.push(rstd);
        }
        let [means, rstds] = [means, rstds].map(|saved| ndarray::Array1::from_vec(saved).into_dyn());
        vec![shaped(y, inputs[0]), means, rstds]
    }

    fn vjp(&self, ctx: &Vjp) -> Result<Vec<Option<Tensor>>> {
        let (x, weight) = (&ctx.inputs[0], &ctx.inputs[1]);
        let operands = [x, weight, &ctx.outputs[1], &ctx.outputs[2], ctx.dy()?];
        let grads = x.graph().apply(std::sync::Arc::new(LayerNormBackward), &operands)?;
        Ok(grads.into_iter().map(Some).collect())
    }

    fn recomputable(&self) -> bool {
        true
    }

    fn in_place(&self, output: usize) -> &[usize] {
        if output == 0 { &[0] } else { &[] }
    }
}

/// x, weight, mean, rstd, dy → dx, dweight, dbias.
#[derive(Debug, Clone, Copy)]
struct LayerNormBackward;

impl LayerNormBackward {
    /// dweight and dbias: sums over chunks of about √rows rows, then the sum of these.
    fn record_weight(rec: &mut Recorder, inputs: &[Operand], outputs: &[Operand]) -> Result<()> {
        let n = inputs[0].shape().last();
        let all = inputs[0].shape().rows();
        let chunk = all.isqrt().max(16);
        let tiles = rec.tiles(all, &[n])?;
        let chunks = tiles.iter().map(|tile| tile.len().div_ceil(chunk)).sum::<usize>();
        let partial = [0, 1].map(|_| rec.scratch(DType::F32, [chunks, n]));
        let mut first = 0;
        for tile in tiles {
            let own = tile.len().div_ceil(chunk);
            let params = layer_norm_backward_weight::Params {
                rows: tile.len() as u32,
                columns: n as u32,
                chunk: chunk as u32,
                first: first as u32,
                chunks: own as u32,
            };
            let [x, dy] = [0, 4].map(|i: usize| inputs[i].rows(&tile, n));
            let [mean, rstd] = [2, 3].map(|i: usize| inputs[i].rows(&tile, 1));
            let bindings = [&x, &mean, &rstd, &dy, &partial[0], &partial[1]];
            rec.dispatch(layer_norm_backward_weight::VARIANTS, &[], &params, &bindings, own * n)?;
            first += own;
        }
        let params =
            sum::Params { outer: 1, reduce: chunks as u32, inner: n as u32, chunk: chunks as u32, chunks: 1 };
        for (partial, output) in partial.iter().zip(&outputs[1..]) {
            rec.dispatch(sum::VARIANTS, &[], &params, &[partial, output], n)?;
        }
        Ok(())
    }
}

impl Op for LayerNormBackward {
    fn name(&self) -> &'static str {
        "layer_norm_backward"
    }

    fn infer(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        expect(self.name(), inputs, &[DType::F32; 5])?;
        Ok(vec![inputs[0].clone(), inputs[1].clone(), inputs[1].clone()])
    }

    fn record(&self, rec: &mut Recorder, inputs: &[Operand], outputs: &[Operand]) -> Result<()> {
        let n = inputs[0].shape().last();
        for tile in rec.tiles(inputs[0].shape().rows(), &[n])? {
            let params = layer_norm_backward::Params {
                rows: tile.len() as u32,
                columns: n as u32,
                inverse: 1.0 / n as f32,
            };
            let [x, dy] = [0, 4].map(|i: usize| inputs[i].rows(&tile, n));
            let [mean, rstd] = [2, 3].map(|i: usize| inputs[i].rows(&tile, 1));
            let bindings = [&x, &inputs[1], &mean, &rstd, &dy, &outputs[0].rows(&tile, n)];
            rec.dispatch(layer_norm_backward::VARIANTS, &[], &params, &bindings, tile.len())?;
        }
        Self::record_weight(rec, inputs, outputs)
    }

    fn reference(&self, inputs: &[&Array]) -> Vec<Array> {
        let (x, weight, mean, rstd, dy) = (rows(inputs[0]), inputs[1], inputs[2], inputs[3], rows(inputs[4]));
        let mut normal = x;
        for (r, mut row) in normal.rows_mut().into_iter().enumerate() {
            row.mapv_inplace(|x| (x - mean[[r]]) * rstd[[r]]);
        }
        let mut dx = dy.clone();
        for (r, mut dx) in dx.rows_mut().into_iter().enumerate() {
            dx.iter_mut().zip(weight).for_each(|(g, weight)| *g *= weight);
            let along = (&dx * &normal.row(r)).mean().unwrap_or(0.0);
            let mean = dx.mean().unwrap_or(0.0);
            dx.iter_mut().zip(normal.row(r)).for_each(|(g, x)| *g = rstd[[r]] * (*g - mean - x * along));
        }
        let dweight = (&dy * &normal).sum_axis(Axis(0)).into_dyn();
        vec![shaped(dx, inputs[0]), dweight, dy.sum_axis(Axis(0)).into_dyn()]
    }
}

impl Tensor {
    /// Layer normalization of x `[.., n]` over its last axis, with weight `[n]` and bias `[n]`:
    /// (x − mean)/√(variance + eps) ∘ weight + bias.
    ///
    /// # Errors
    /// When the shapes are others, or n is 0.
    pub fn layer_norm(&self, weight: &Tensor, bias: &Tensor, eps: f32) -> Result<Tensor> {
        self.apply(LayerNorm { eps }, &[weight, bias])
    }
}
