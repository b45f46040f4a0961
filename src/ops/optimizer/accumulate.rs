//! target ← target + x.

use crate::error::Result;
use crate::exec::{Operand, Recorder};
use crate::graph::Tensor;
use crate::ops::{Alias, Array, Op, expect, mismatch};
use crate::shader::optimizer::accumulate;
use crate::shape::{DType, Spec};

/// Adds x `[n]` to target `[n]`, the first operand, in place; the result is the target.
#[derive(Debug, Clone, Copy)]
pub struct Accumulate;

impl Op for Accumulate {
    fn name(&self) -> &'static str {
        "accumulate"
    }

    fn infer(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        expect(self.name(), inputs, &[DType::F32; 2])?;
        if inputs[0] != inputs[1] {
            return Err(mismatch(self.name(), inputs, "takes two tensors of one shape"));
        }
        Ok(vec![inputs[0].clone()])
    }

    fn record(&self, rec: &mut Recorder, inputs: &[Operand], _: &[Operand]) -> Result<()> {
        for tile in rec.tiles(inputs[0].elements(), &[1])? {
            let params = accumulate::Params { elements: tile.len() as u32 };
            let bindings = [&inputs[0].slice(tile.clone()), &inputs[1].slice(tile.clone())];
            rec.dispatch(accumulate::VARIANTS, &[], &params, &bindings, tile.len())?;
        }
        Ok(())
    }

    fn reference(&self, inputs: &[&Array]) -> Vec<Array> {
        vec![inputs[0] + inputs[1]]
    }

    fn alias(&self, _: usize) -> Option<Alias> {
        Some(Alias::Update(0))
    }
}

impl Tensor {
    /// Adds `x` to this tensor in place. No derivative.
    ///
    /// # Errors
    /// When the shapes differ.
    pub fn accumulate(&self, x: &Tensor) -> Result<Tensor> {
        self.apply(Accumulate, &[x])
    }
}
