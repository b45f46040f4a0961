//! Copies between strided places.

use crate::error::Result;
use crate::exec::{Operand, Recorder};
use crate::graph::Tensor;
use crate::ops::{Array, Op, Vjp, mismatch};
use crate::shader::layout::copy;
use crate::shape::{Shape, Spec};

/// A copy of the operand, of either type, in memory of its own; dx = dy.
#[derive(Debug, Clone, Copy)]
pub struct Copy;

/// Where a box of four axes lies in a tensor.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    /// The element of its first corner.
    pub first: usize,
    /// Elements between neighbors along each axis.
    pub strides: [usize; 4],
}

/// Sizes of `[outer, axis, inner]`, the axis `axis` of `shape` and the products around it.
pub(super) fn around(shape: &Shape, axis: usize) -> [usize; 3] {
    let dims = shape.dims();
    [dims[..axis].iter().product(), dims[axis], dims[axis + 1..].iter().product()]
}

/// Records the copy of a box of `sizes` from `from` in x to `to` in y.
pub(super) fn record_box(
    rec: &mut Recorder,
    sizes: [usize; 4],
    (x, from): (&Operand, Place),
    (y, to): (&Operand, Place),
) -> Result<()> {
    let elements: usize = sizes.iter().product();
    let ([x_0, x_1, x_2, x_3], [y_0, y_1, y_2, y_3]) =
        (from.strides.map(|stride| stride as u32), to.strides.map(|stride| stride as u32));
    let params = copy::Params {
        elements: elements as u32,
        size_1: sizes[1] as u32,
        size_2: sizes[2] as u32,
        size_3: sizes[3] as u32,
        x_first: from.first as u32,
        x_0,
        x_1,
        x_2,
        x_3,
        y_first: to.first as u32,
        y_0,
        y_1,
        y_2,
        y_3,
    };
    rec.dispatch(copy::VARIANTS, &[], &params, &[x, y], elements)
}

/// Records the copy of `len` places along the axis of a `[outer, size, inner]` tensor to another one that
/// differs in size: each side is (operand, size, first place).
pub(super) fn record_axis(
    rec: &mut Recorder,
    [outer, len, inner]: [usize; 3],
    (x, x_size, x_first): (&Operand, usize, usize),
    (y, y_size, y_first): (&Operand, usize, usize),
) -> Result<()> {
    let place = |size: usize, first: usize| Place { first: first * inner, strides: [0, 0, size * inner, 1] };
    record_box(rec, [1, 1, outer, len * inner], (x, place(x_size, x_first)), (y, place(y_size, y_first)))
}

impl Op for Copy {
    fn name(&self) -> &'static str {
        "copy"
    }

    fn infer(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        match inputs {
            [x] => Ok(vec![x.clone()]),
            _ => Err(mismatch(self.name(), inputs, "one operand")),
        }
    }

    fn record(&self, rec: &mut Recorder, inputs: &[Operand], outputs: &[Operand]) -> Result<()> {
        let place = Place { first: 0, strides: [0, 0, 0, 1] };
        for tile in rec.tiles(inputs[0].elements(), &[1])? {
            let (x, y) = (inputs[0].slice(tile.clone()), outputs[0].slice(tile.clone()));
            record_box(rec, [1, 1, 1, tile.len()], (&x, place), (&y, place))?;
        }
        Ok(())
    }

    fn reference(&self, inputs: &[&Array]) -> Vec<Array> {
        vec![inputs[0].clone()]
    }

    fn vjp(&self, ctx: &Vjp) -> Result<Vec<Option<Tensor>>> {
        Ok(vec![Some(ctx.dy()?.clone())])
    }

    fn recomputable(&self) -> bool {
        true
    }
}

impl Tensor {
    /// A copy in memory of its own.
    ///
    /// # Errors
    /// Never for a tensor of this graph.
    pub fn copy(&self) -> Result<Tensor> {
        self.apply(Copy, &[])
    }
}
