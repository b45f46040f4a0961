//! Layer normalization over the last axis.

use std::sync::Arc;

use ndarray::{Array2, Axis};

use crate::error::{Error, Result};
use crate::exec::{Operand, Recorder};
use crate::graph::Tensor;
use crate::ops::{Array, Epilogue, NodeOp, Op, Prologue, Vjp, expect, mismatch};
use crate::shader::norm::{layer_norm, layer_norm_backward, layer_norm_backward_sum};
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
                has_addend: u32::from(inputs.len() > 3),
            };
            let (x, y) = (inputs[0].rows(&tile, n), outputs[0].rows(&tile, n));
            let [mean, rstd] = [1, 2].map(|i: usize| outputs[i].rows(&tile, 1));
            let addend = inputs.get(3).map(|addend| addend.rows(&tile, n));
            // The bias is bound for what is not there, and not read.
            let addend = addend.as_ref().unwrap_or(&inputs[2]);
            let bindings = [&x, &inputs[1], &inputs[2], addend, &y, &mean, &rstd];
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
        let grads = x.graph().apply(Arc::new(LayerNormBackward { has_addend: false }), &operands)?;
        Ok(grads.into_iter().map(Some).collect())
    }

    fn recomputable(&self) -> bool {
        true
    }

    fn in_place(&self, output: usize) -> &[usize] {
        if output == 0 { &[0] } else { &[] }
    }

    fn with_epilogue(&self, epilogue: Epilogue, _: usize) -> Option<Arc<NodeOp>> {
        matches!(epilogue, Epilogue::Add).then(|| Arc::new(AddedLayerNorm(*self)) as Arc<NodeOp>)
    }

    fn prologue(&self) -> Option<Prologue> {
        Some(Prologue::LayerNorm(*self))
    }
}

/// y + addend of a [`LayerNorm`], and its mean and rstd: what a plan makes of a layer norm and the sum behind it. The
/// addend, like x, is the last operand. It has no derivative of its own: a plan is made when derivatives are nodes already.
#[derive(Debug, Clone, Copy)]
pub struct AddedLayerNorm(pub LayerNorm);

impl Op for AddedLayerNorm {
    fn name(&self) -> &'static str {
        "added_layer_norm"
    }

    fn infer(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        expect(self.name(), inputs, &[DType::F32; 4])?;
        if inputs[3] != inputs[0] {
            return Err(mismatch(self.name(), inputs, "an addend like x"));
        }
        self.0.infer(&inputs[..3])
    }

    fn record(&self, rec: &mut Recorder, inputs: &[Operand], outputs: &[Operand]) -> Result<()> {
        self.0.record(rec, inputs, outputs)
    }

    fn reference(&self, inputs: &[&Array]) -> Vec<Array> {
        let mut results = self.0.reference(&inputs[..3]);
        results[0] += inputs[3];
        results
    }

    fn vjp(&self, _: &Vjp) -> Result<Vec<Option<Tensor>>> {
        Err(Error::invalid("an added_layer_norm has no derivative; differentiate what a plan makes it of"))
    }

    fn recomputable(&self) -> bool {
        true
    }

    /// The addend's, so that a stream of residuals stays where it is.
    fn in_place(&self, output: usize) -> &[usize] {
        if output == 0 { &[3] } else { &[] }
    }
}

/// x, weight, mean, rstd, dy and, where there is one, an addend like x → dx + addend, dweight, dbias of a [`LayerNorm`].
#[derive(Debug, Clone, Copy)]
pub struct LayerNormBackward {
    /// Whether there is an addend.
    pub has_addend: bool,
}

/// Chunks of rows that keep a GPU busy.
const BUSY: usize = 512;

impl LayerNormBackward {
    /// Rows of a chunk: as few as keep a GPU busy, and as an invocation's passes through loops allow.
    fn chunk(rec: &Recorder, rows: usize, n: usize) -> usize {
        let width = rec.capabilities().row_workgroup() as usize;
        let passes = rec.capabilities().loop_passes as usize / (3 * n.div_ceil(width) + width + 1);
        (rows / BUSY).clamp(16, 64).min(passes.max(1))
    }
}

impl Op for LayerNormBackward {
    fn name(&self) -> &'static str {
        "layer_norm_backward"
    }

    fn infer(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        expect(self.name(), inputs, &[DType::F32; 6][..5 + usize::from(self.has_addend)])?;
        let rows = Spec::f32([inputs[0].shape.rows()]);
        let like_x = inputs[4..].iter().all(|spec| *spec == inputs[0]);
        let fits =
            inputs[1].shape.dims() == [inputs[0].shape.last()] && inputs[2] == rows && inputs[3] == rows;
        if inputs[0].shape.rank() == 0 || !like_x || !fits {
            return Err(mismatch(
                self.name(),
                inputs,
                "x [.., n], weight [n], mean and rstd of the rows, dy like x",
            ));
        }
        Ok(vec![inputs[0].clone(), inputs[1].clone(), inputs[1].clone()])
    }

    fn record(&self, rec: &mut Recorder, inputs: &[Operand], outputs: &[Operand]) -> Result<()> {
        let (n, rows) = (inputs[0].shape().last(), inputs[0].shape().rows());
        let chunk = Self::chunk(rec, rows, n);
        let tiles = rec.tiles(rows, &[n])?;
        let chunks = tiles.iter().map(|tile| tile.len().div_ceil(chunk)).sum::<usize>();
        let sums = rec.scratch(DType::F32, [chunks, 2, n]);
        let mut first = 0;
        for tile in tiles {
            let params = layer_norm_backward::Params {
                rows: tile.len() as u32,
                columns: n as u32,
                inverse: 1.0 / n as f32,
                chunk: chunk as u32,
                first: first as u32,
                has_addend: u32::from(self.has_addend),
            };
            let [x, dy] = [0, 4].map(|i: usize| inputs[i].rows(&tile, n));
            let [mean, rstd] = [2, 3].map(|i: usize| inputs[i].rows(&tile, 1));
            let addend = inputs.get(5).map(|addend| addend.rows(&tile, n));
            let dx = outputs[0].rows(&tile, n);
            // Where there is no addend, the kernel that finds one at dx serves too and does not read it: one less to compile.
            let nothing = dx.unread();
            let addend = addend.as_ref().unwrap_or(&nothing);
            let bindings = [&x, &inputs[1], &mean, &rstd, &dy, addend, &dx, &sums];
            let own = tile.len().div_ceil(chunk);
            rec.dispatch(layer_norm_backward::VARIANTS, &[], &params, &bindings, own)?;
            first += own;
        }
        let params = layer_norm_backward_sum::Params { chunks: chunks as u32, columns: n as u32 };
        let bindings = [&sums, &outputs[1], &outputs[2]];
        rec.dispatch(layer_norm_backward_sum::VARIANTS, &[], &params, &bindings, 2 * n)
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
        let mut dx = shaped(dx, inputs[0]);
        if let Some(addend) = inputs.get(5) {
            dx += *addend;
        }
        vec![dx, dweight, dy.sum_axis(Axis(0)).into_dyn()]
    }

    fn in_place(&self, output: usize) -> &[usize] {
        if output == 0 && self.has_addend { &[5] } else { &[] }
    }

    fn with_epilogue(&self, epilogue: Epilogue, _: usize) -> Option<Arc<NodeOp>> {
        let is_new = matches!(epilogue, Epilogue::Add) && !self.has_addend;
        is_new.then(|| Arc::new(Self { has_addend: true }) as Arc<NodeOp>)
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
