//! Dropout.

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::exec::{Operand, Recorder};
use crate::graph::Tensor;
use crate::ops::finish::Finish;
use crate::ops::map::Chain;
use crate::ops::{Array, Epilogue, NodeOp, Op, Vjp, expect, mismatch};
use crate::rng::philox;
use crate::shader::random::dropout;
use crate::shape::{DType, Shape, Spec};

/// y`[i]` = x`[i]`/q with probability q, else 0, where q is 1 − p in steps of 2⁻¹⁶; x of any shape, rng u32 \[3\] = (seed, optimizer step,
/// micro-batch).
///
/// Element i is kept where the 16-bit half i mod 4 (low before high) of Philox at counter ⌊i/4⌋ under mix(seed,
/// step, micro-batch, stream) is below q·2¹⁶. dx is dy, dropped alike.
#[derive(Debug, Clone, Copy)]
pub struct Dropout {
    /// Probability p that an element is dropped, in [0, 1).
    pub probability: f32,
    /// The stream of the place in the model, [`crate::rng::stream`] of its path.
    pub stream: u32,
    /// The number of x's first element, where x is a part of a larger tensor that is drawn as a whole; a multiple
    /// of 4.
    pub first: usize,
}

impl Dropout {
    /// Draws of 16 bits below it are kept.
    pub(crate) fn threshold(&self) -> u32 {
        (((1.0 - f64::from(self.probability)) * 65_536.0).round() as u32).max(1)
    }

    /// Kept elements are multiplied by it.
    pub(crate) fn scale(&self) -> f32 {
        65_536.0 / self.threshold() as f32
    }
}

impl Op for Dropout {
    fn name(&self) -> &'static str {
        "dropout"
    }

    fn infer(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        expect(self.name(), inputs, &[DType::F32, DType::U32])?;
        if !(0.0..1.0).contains(&self.probability) {
            let message = format!("a probability of {} is not in [0, 1)", self.probability);
            return Err(Error::shape(self.name(), message));
        }
        if !self.first.is_multiple_of(4) {
            let message = format!("a first element of {} is no multiple of 4", self.first);
            return Err(Error::shape(self.name(), message));
        }
        match inputs[1].shape == Shape::from([3]) {
            true => Ok(vec![inputs[0].clone()]),
            false => Err(mismatch(self.name(), inputs, "x and rng [3]")),
        }
    }

    fn record(&self, rec: &mut Recorder, inputs: &[Operand], outputs: &[Operand]) -> Result<()> {
        for tile in rec.tiles(inputs[0].elements(), &[1])? {
            let params = dropout::Params {
                elements: tile.len() as u32,
                first: ((self.first + tile.start) / 4) as u32,
                threshold: self.threshold(),
                scale: self.scale(),
                stream: self.stream,
            };
            let elements = tile.len();
            let (x, y) = (inputs[0].slice(tile.clone()), outputs[0].slice(tile));
            rec.dispatch(dropout::VARIANTS, &[], &params, &[&x, &inputs[1], &y], elements)?;
        }
        Ok(())
    }

    fn reference(&self, inputs: &[&Array]) -> Vec<Array> {
        let key = super::key(inputs[1], self.stream);
        let mut y = inputs[0].as_standard_layout().into_owned();
        for (i, y) in y.iter_mut().enumerate() {
            let word = philox([((self.first + i) / 4) as u32, 0], key)[i % 4 / 2];
            let half = word >> (16 * (i % 2)) & 0xFFFF;
            *y *= if half < self.threshold() { f64::from(self.scale()) } else { 0.0 };
        }
        vec![y]
    }

    fn vjp(&self, ctx: &Vjp) -> Result<Vec<Option<Tensor>>> {
        Ok(vec![Some(ctx.dy()?.apply(*self, &[&ctx.inputs[1]])?), None])
    }

    fn recomputable(&self) -> bool {
        true
    }

    fn in_place(&self, _: usize) -> &[usize] {
        &[0]
    }

    fn epilogue(&self) -> Option<Epilogue> {
        Some(Epilogue::Dropout(*self))
    }

    fn with_epilogue(&self, epilogue: Epilogue, operands: usize) -> Option<Arc<NodeOp>> {
        Chain(Finish { dropout: Some(*self), ..Finish::NONE }).with_epilogue(epilogue, operands)
    }
}

impl Tensor {
    /// Drops elements with `probability` and scales the others by 1/(1 − probability), from the draws of
    /// `stream` under `rng` = u32 (seed, optimizer step, micro-batch).
    ///
    /// # Errors
    /// When the probability is not in [0, 1) or `rng` is not u32 \[3\].
    pub fn dropout(&self, probability: f32, stream: u32, rng: &Tensor) -> Result<Tensor> {
        self.apply(Dropout { probability, stream, first: 0 }, &[rng])
    }
}
