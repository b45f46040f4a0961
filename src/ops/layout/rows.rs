//! Rows picked by number, and put back.

use ndarray::Axis;

use super::fill;
use crate::error::Result;
use crate::exec::{Operand, Recorder};
use crate::graph::Tensor;
use crate::ops::{Array, Op, Vjp, mismatch};
use crate::shader::layout::{gather_rows, scatter_rows};
use crate::shape::{DType, Spec};

/// x `[rows, width]` of either type, index u32 `[m]` → y `[m, width]`, y\[i\] = x\[index\[i\]\], zeros where
/// there is no such row. dx puts the rows of dy back, see [`ScatterRows`]: it is right only where the
/// indices below `rows` are distinct.
#[derive(Debug, Clone, Copy)]
pub struct GatherRows;

/// x `[m, width]` of either type, index u32 `[m]` → y `[rows, width]`, y\[index\[i\]\] = x\[i\], zero
/// elsewhere. The indices below `rows` must be distinct: of two equal ones either row may win. Rows whose
/// index is `rows` or more are left out. dx gathers the rows of dy.
#[derive(Debug, Clone, Copy)]
pub struct ScatterRows {
    /// Rows of the result.
    pub rows: usize,
}

impl Op for GatherRows {
    fn name(&self) -> &'static str {
        "gather_rows"
    }

    fn infer(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        if let [x, index] = inputs
            && let ([_, width], [m], DType::U32) = (x.shape.dims(), index.shape.dims(), index.dtype)
        {
            return Ok(vec![Spec { shape: [*m, *width].into(), dtype: x.dtype }]);
        }
        Err(mismatch(self.name(), inputs, "x [rows, width] and index u32 [m]"))
    }

    fn record(&self, rec: &mut Recorder, inputs: &[Operand], outputs: &[Operand]) -> Result<()> {
        let n = inputs[0].shape().last();
        for tile in rec.tiles(outputs[0].shape().rows(), &[n])? {
            let elements = tile.len() * n;
            let params = gather_rows::Params {
                elements: elements as u32,
                width: n as u32,
                rows: inputs[0].shape().rows() as u32,
            };
            let bindings = [&inputs[0], &inputs[1].rows(&tile, 1), &outputs[0].rows(&tile, n)];
            rec.dispatch(gather_rows::VARIANTS, &[], &params, &bindings, elements)?;
        }
        Ok(())
    }

    fn reference(&self, inputs: &[&Array]) -> Vec<Array> {
        let mut y = Array::zeros([inputs[1].len(), inputs[0].shape()[1]].as_slice());
        for (mut row, &index) in y.axis_iter_mut(Axis(0)).zip(inputs[1]) {
            if (index as usize) < inputs[0].shape()[0] {
                row.assign(&inputs[0].index_axis(Axis(0), index as usize));
            }
        }
        vec![y]
    }

    fn vjp(&self, ctx: &Vjp) -> Result<Vec<Option<Tensor>>> {
        let rows = ctx.inputs[0].dims()[0];
        Ok(vec![Some(ctx.dy()?.scatter_rows(&ctx.inputs[1], rows)?), None])
    }
}

impl Op for ScatterRows {
    fn name(&self) -> &'static str {
        "scatter_rows"
    }

    fn infer(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        if let [x, index] = inputs
            && let ([m, width], [n], DType::U32) = (x.shape.dims(), index.shape.dims(), index.dtype)
            && m == n
        {
            return Ok(vec![Spec { shape: [self.rows, *width].into(), dtype: x.dtype }]);
        }
        Err(mismatch(self.name(), inputs, "x [m, width] and index u32 [m]"))
    }

    fn record(&self, rec: &mut Recorder, inputs: &[Operand], outputs: &[Operand]) -> Result<()> {
        fill::record(rec, &outputs[0], 0.0)?;
        let n = inputs[0].shape().last();
        for tile in rec.tiles(inputs[0].shape().rows(), &[n])? {
            let elements = tile.len() * n;
            let params =
                scatter_rows::Params { elements: elements as u32, width: n as u32, rows: self.rows as u32 };
            let bindings = [&inputs[0].rows(&tile, n), &inputs[1].rows(&tile, 1), &outputs[0]];
            rec.dispatch(scatter_rows::VARIANTS, &[], &params, &bindings, elements)?;
        }
        Ok(())
    }

    fn reference(&self, inputs: &[&Array]) -> Vec<Array> {
        let mut y = Array::zeros([self.rows, inputs[0].shape()[1]].as_slice());
        for (row, &index) in inputs[0].axis_iter(Axis(0)).zip(inputs[1]) {
            if (index as usize) < self.rows {
                y.index_axis_mut(Axis(0), index as usize).assign(&row);
            }
        }
        vec![y]
    }

    fn vjp(&self, ctx: &Vjp) -> Result<Vec<Option<Tensor>>> {
        Ok(vec![Some(ctx.dy()?.gather_rows(&ctx.inputs[1])?), None])
    }
}

impl Tensor {
    /// The rows `index` (u32 `[m]`) of x `[rows, width]`, zeros where there is no such row: `[m, width]`.
    /// Its gradient needs distinct indices.
    ///
    /// # Errors
    /// When the shapes or the index's type are others.
    pub fn gather_rows(&self, index: &Tensor) -> Result<Tensor> {
        self.apply(GatherRows, &[index])
    }

    /// The rows of x `[m, width]` put at the distinct places `index` (u32 `[m]`) among `rows` rows of zeros.
    ///
    /// # Errors
    /// When the shapes or the index's type are others.
    pub fn scatter_rows(&self, index: &Tensor, rows: usize) -> Result<Tensor> {
        self.apply(ScatterRows { rows }, &[index])
    }
}
