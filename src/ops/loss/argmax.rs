//! The best class of every row.

use std::sync::Arc;

use crate::error::Result;
use crate::exec::{Operand, Recorder};
use crate::graph::Tensor;
use crate::ops::{Array, Op, expect, mismatch};
use crate::shader::loss::argmax;
use crate::shape::{DType, Shape, Spec};

/// x `[.., vocab]` → ids u32 `[..]`, the argmax over the last axis (the lowest class on ties), and its
/// softmax probability `[..]`, 1/Σ exp(x − max x). It has no derivative.
#[derive(Debug, Clone, Copy)]
pub struct Argmax;

/// The lowest position of the largest number, and the number.
pub(super) fn best(row: impl IntoIterator<Item = f64>) -> (usize, f64) {
    let row = row.into_iter().enumerate();
    row.fold((0, f64::NEG_INFINITY), |best, (id, x)| if x > best.1 { (id, x) } else { best })
}

impl Op for Argmax {
    fn name(&self) -> &'static str {
        "argmax"
    }

    fn infer(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        expect(self.name(), inputs, &[DType::F32])?;
        match inputs[0].shape.dims() {
            [lead @ .., vocab] if *vocab > 0 => {
                let lead = Shape::from(lead);
                Ok(vec![Spec::u32(lead.clone()), Spec::f32(lead)])
            }
            _ => Err(mismatch(self.name(), inputs, "a last axis of 1 or more")),
        }
    }

    fn record(&self, rec: &mut Recorder, inputs: &[Operand], outputs: &[Operand]) -> Result<()> {
        let vocab = inputs[0].shape().last();
        for tile in rec.tiles(inputs[0].shape().rows(), &[vocab])? {
            let params = argmax::Params { rows: tile.len() as u32, columns: vocab as u32 };
            let [ids, probability] = [0, 1].map(|i: usize| outputs[i].rows(&tile, 1));
            let bindings = [&inputs[0].rows(&tile, vocab), &ids, &probability];
            rec.dispatch(argmax::VARIANTS, &[], &params, &bindings, tile.len())?;
        }
        Ok(())
    }

    fn reference(&self, inputs: &[&Array]) -> Vec<Array> {
        let lead = &inputs[0].shape()[..inputs[0].ndim().saturating_sub(1)];
        let (mut ids, mut probabilities) = (Array::zeros(lead), Array::zeros(lead));
        let results = ids.iter_mut().zip(probabilities.iter_mut());
        for ((id, probability), row) in results.zip(inputs[0].rows()) {
            let (at, top) = best(row.iter().copied());
            *id = at as f64;
            *probability = 1.0 / row.mapv(|x| (x - top).exp()).sum();
        }
        vec![ids, probabilities]
    }
}

impl Tensor {
    /// The argmax over the last axis as u32 (the lowest class on ties) and its softmax probability; both
    /// have the shape without the last axis.
    ///
    /// # Errors
    /// When the tensor is not f32 or its last axis is empty.
    pub fn argmax(&self) -> Result<(Tensor, Tensor)> {
        let mut outputs = self.graph().apply(Arc::new(Argmax), &[self])?;
        let ids = outputs.swap_remove(0);
        Ok((ids, outputs.swap_remove(0)))
    }
}
