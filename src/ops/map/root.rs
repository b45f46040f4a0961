//! y = √(x + eps).

use crate::error::Result;
use crate::exec::{Operand, Recorder};
use crate::graph::Tensor;
use crate::ops::{Array, Op, Vjp, expect};
use crate::shader::map::root;
use crate::shape::{DType, Spec};

/// y = √(x + eps), element by element, of x that are not below 0; dx = dy / 2y.
#[derive(Debug, Clone, Copy)]
pub struct Root {
    /// Added before the root is taken, so that the derivative is finite at 0.
    pub eps: f32,
}

impl Op for Root {
    fn name(&self) -> &'static str {
        "root"
    }

    fn infer(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        expect(self.name(), inputs, &[DType::F32])?;
        Ok(vec![inputs[0].clone()])
    }

    fn record(&self, rec: &mut Recorder, inputs: &[Operand], outputs: &[Operand]) -> Result<()> {
        for tile in rec.tiles(inputs[0].elements(), &[1])? {
            let params = root::Params { elements: tile.len() as u32, eps: self.eps };
            let bindings = [&inputs[0].slice(tile.clone()), &outputs[0].slice(tile.clone())];
            rec.dispatch(root::VARIANTS, &[], &params, &bindings, tile.len())?;
        }
        Ok(())
    }

    fn reference(&self, inputs: &[&Array]) -> Vec<Array> {
        vec![inputs[0].mapv(|x| (x + f64::from(self.eps)).sqrt())]
    }

    fn vjp(&self, ctx: &Vjp) -> Result<Vec<Option<Tensor>>> {
        Ok(vec![Some(ctx.dy()?.scale(0.5)?.div(&ctx.outputs[0])?)])
    }

    fn recomputable(&self) -> bool {
        true
    }

    fn in_place(&self, _: usize) -> &[usize] {
        &[0]
    }
}

impl Tensor {
    /// √(x + eps) of elements that are not below 0.
    ///
    /// # Errors
    /// When the tensor is not f32.
    pub fn root(&self, eps: f32) -> Result<Tensor> {
        self.apply(Root { eps }, &[])
    }
}
