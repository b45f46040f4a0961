//! y = scale·x + shift.

use std::sync::Arc;

use super::Chain;
use crate::error::Result;
use crate::exec::{Operand, Recorder};
use crate::graph::Tensor;
use crate::ops::finish::Finish;
use crate::ops::{Array, Epilogue, NodeOp, Op, Vjp, expect};
use crate::shader::map::affine;
use crate::shape::{DType, Spec};

/// y = scale·x + shift with constants; dx = scale·dy.
#[derive(Debug, Clone, Copy)]
pub struct Affine {
    /// Factor.
    pub scale: f32,
    /// Summand.
    pub shift: f32,
}

impl Op for Affine {
    fn name(&self) -> &'static str {
        "affine"
    }

    fn infer(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        expect(self.name(), inputs, &[DType::F32])?;
        Ok(vec![inputs[0].clone()])
    }

    fn record(&self, rec: &mut Recorder, inputs: &[Operand], outputs: &[Operand]) -> Result<()> {
        for tile in rec.tiles(inputs[0].elements(), &[1])? {
            let params = affine::Params { elements: tile.len() as u32, scale: self.scale, shift: self.shift };
            let bindings = [&inputs[0].slice(tile.clone()), &outputs[0].slice(tile.clone())];
            rec.dispatch(affine::VARIANTS, &[], &params, &bindings, tile.len())?;
        }
        Ok(())
    }

    fn reference(&self, inputs: &[&Array]) -> Vec<Array> {
        vec![inputs[0].mapv(|x| f64::from(self.scale) * x + f64::from(self.shift))]
    }

    fn vjp(&self, ctx: &Vjp) -> Result<Vec<Option<Tensor>>> {
        Ok(vec![Some(ctx.dy()?.scale(self.scale)?)])
    }

    fn recomputable(&self) -> bool {
        true
    }

    fn in_place(&self, _: usize) -> &[usize] {
        &[0]
    }

    fn epilogue(&self) -> Option<Epilogue> {
        (self.shift == 0.0).then_some(Epilogue::Scale(self.scale))
    }

    fn with_epilogue(&self, epilogue: Epilogue, operands: usize) -> Option<Arc<NodeOp>> {
        let chain = Chain(Finish { scale: self.scale, ..Finish::NONE });
        if self.shift == 0.0 { chain.with_epilogue(epilogue, operands) } else { None }
    }
}

impl Tensor {
    /// factor·x.
    ///
    /// # Errors
    /// When the tensor is not f32.
    pub fn scale(&self, factor: f32) -> Result<Tensor> {
        self.apply(Affine { scale: factor, shift: 0.0 }, &[])
    }
}
