//! Sums, differences, products and quotients, with broadcasting.

use ndarray::Zip;

use crate::error::Result;
use crate::exec::{Operand, Recorder};
use crate::graph::Tensor;
use crate::ops::{Array, Epilogue, Op, Vjp, expect, mismatch};
use crate::shader::map::{binary, broadcast};
use crate::shape::{DType, Shape, Spec};

/// How two elements are combined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum BinaryKind {
    /// a + b.
    Add,
    /// a − b.
    Sub,
    /// a·b.
    Mul,
    /// a/b.
    Div,
}

/// y = a ∘ b; axes of size 1 and missing leading axes are repeated, for up to 4 axes.
#[derive(Debug, Clone, Copy)]
pub struct Binary(pub BinaryKind);

fn broadcast_shape(a: &Shape, b: &Shape) -> Option<Shape> {
    let rank = a.rank().max(b.rank());
    let size =
        |shape: &Shape, axis: usize| (axis + shape.rank()).checked_sub(rank).map_or(1, |i| shape.dims()[i]);
    let dims: Option<Vec<usize>> = (0..rank)
        .map(|axis| match (size(a, axis), size(b, axis)) {
            (m, n) if m == n || n == 1 => Some(m),
            (1, n) => Some(n),
            _ => None,
        })
        .collect();
    dims.map(Shape::from)
}

/// Strides of `shape` seen as 4 axes of `whole`; 0 where it is repeated.
fn strides(shape: &Shape, whole: &Shape) -> [u32; 4] {
    let own = shape.strides();
    let mut strides = [0; 4];
    for back in 1..=shape.rank().min(whole.rank()) {
        let axis = shape.rank() - back;
        if shape.dims()[axis] != 1 {
            strides[4 - back] = own[axis] as u32;
        }
    }
    strides
}

impl Op for Binary {
    fn name(&self) -> &'static str {
        "binary"
    }

    fn infer(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        expect(self.name(), inputs, &[DType::F32; 2])?;
        match broadcast_shape(&inputs[0].shape, &inputs[1].shape) {
            Some(shape) if shape.rank() <= 4 || inputs[0].shape == inputs[1].shape => {
                Ok(vec![Spec::f32(shape)])
            }
            _ => Err(mismatch(self.name(), inputs, "shapes that broadcast, of at most 4 axes")),
        }
    }

    fn record(&self, rec: &mut Recorder, inputs: &[Operand], outputs: &[Operand]) -> Result<()> {
        let constants = [("KIND", f64::from(self.0 as u8))];
        let (a, b, y) = (&inputs[0], &inputs[1], &outputs[0]);
        if a.shape() == b.shape() {
            for tile in rec.tiles(y.elements(), &[1])? {
                let params = binary::Params { elements: tile.len() as u32 };
                let bindings = [&a.slice(tile.clone()), &b.slice(tile.clone()), &y.slice(tile.clone())];
                rec.dispatch(binary::VARIANTS, &constants, &params, &bindings, tile.len())?;
            }
            return Ok(());
        }
        let whole = y.shape();
        let dim = |back: usize| whole.rank().checked_sub(back).map_or(1, |axis| whole.dims()[axis] as u32);
        let (sa, sb) = (strides(a.shape(), whole), strides(b.shape(), whole));
        let params = broadcast::Params {
            elements: y.elements() as u32,
            dim_1: dim(3),
            dim_2: dim(2),
            dim_3: dim(1),
            a_0: sa[0],
            a_1: sa[1],
            a_2: sa[2],
            a_3: sa[3],
            b_0: sb[0],
            b_1: sb[1],
            b_2: sb[2],
            b_3: sb[3],
        };
        rec.dispatch(broadcast::VARIANTS, &constants, &params, &[a, b, y], y.elements())
    }

    fn reference(&self, inputs: &[&Array]) -> Vec<Array> {
        let shapes = [0, 1].map(|i: usize| Shape::from(inputs[i].shape()));
        let shape = broadcast_shape(&shapes[0], &shapes[1]).expect("shapes that `infer` has checked");
        let mut y = Array::zeros(shape.dims());
        Zip::from(&mut y).and_broadcast(inputs[0]).and_broadcast(inputs[1]).for_each(|y, &a, &b| {
            *y = match self.0 {
                BinaryKind::Add => a + b,
                BinaryKind::Sub => a - b,
                BinaryKind::Mul => a * b,
                BinaryKind::Div => a / b,
            };
        });
        vec![y]
    }

    fn vjp(&self, ctx: &Vjp) -> Result<Vec<Option<Tensor>>> {
        let (a, b, dy) = (&ctx.inputs[0], &ctx.inputs[1], ctx.dy()?);
        let da = |grad: Result<Tensor>| grad?.sum_to(a.shape()).map(Some);
        let db = |grad: Result<Tensor>| grad?.sum_to(b.shape()).map(Some);
        let of = |wanted: usize, make: &dyn Fn() -> Result<Option<Tensor>>| {
            if ctx.needed[wanted] { make() } else { Ok(None) }
        };
        let grads = match self.0 {
            BinaryKind::Add => [of(0, &|| da(Ok(dy.clone())))?, of(1, &|| db(Ok(dy.clone())))?],
            BinaryKind::Sub => [of(0, &|| da(Ok(dy.clone())))?, of(1, &|| db(dy.scale(-1.0)))?],
            BinaryKind::Mul => [of(0, &|| da(dy.mul(b)))?, of(1, &|| db(dy.mul(a)))?],
            BinaryKind::Div => {
                [of(0, &|| da(dy.div(b)))?, of(1, &|| db(dy.mul(&ctx.outputs[0])?.div(b)?.scale(-1.0)))?]
            }
        };
        Ok(grads.into())
    }

    fn recomputable(&self) -> bool {
        true
    }

    fn in_place(&self, _: usize) -> &[usize] {
        &[0, 1]
    }

    fn epilogue(&self) -> Option<Epilogue> {
        (self.0 == BinaryKind::Add).then_some(Epilogue::Add)
    }
}

impl Tensor {
    /// a + b, broadcast.
    ///
    /// # Errors
    /// When the shapes do not broadcast.
    pub fn add(&self, other: &Tensor) -> Result<Tensor> {
        self.apply(Binary(BinaryKind::Add), &[other])
    }

    /// a − b, broadcast.
    ///
    /// # Errors
    /// When the shapes do not broadcast.
    pub fn sub(&self, other: &Tensor) -> Result<Tensor> {
        self.apply(Binary(BinaryKind::Sub), &[other])
    }

    /// a·b, broadcast.
    ///
    /// # Errors
    /// When the shapes do not broadcast.
    pub fn mul(&self, other: &Tensor) -> Result<Tensor> {
        self.apply(Binary(BinaryKind::Mul), &[other])
    }

    /// a/b, broadcast.
    ///
    /// # Errors
    /// When the shapes do not broadcast.
    pub fn div(&self, other: &Tensor) -> Result<Tensor> {
        self.apply(Binary(BinaryKind::Div), &[other])
    }
}
