//! The likely classes of every row.

use std::sync::Arc;

use super::argmax::best;
use crate::error::Result;
use crate::exec::{Operand, Recorder};
use crate::graph::Tensor;
use crate::ops::{Array, Op, expect, mismatch};
use crate::shader::loss::likely;
use crate::shape::{DType, Spec};

/// x `[rows, vocab]` → counts u32 `[rows]`, ids u32 and log-probabilities `[rows, room]`: the classes with
/// log softmax x ≥ `least`, and the best one (the lowest on ties), in the order of their ids, behind them zeros. It has
/// no derivative.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Likely {
    /// The log-probability from which on a class is likely.
    pub least: f32,
    /// Classes of a row at the most; those with higher ids are left out.
    pub room: usize,
}

impl Likely {
    /// Classes of a row that a kernel goes through: one pass each, of which an invocation makes fewer than 65 535.
    pub const MOST_CLASSES: usize = 1 << 15;
    /// Slightly less than is asked for, since the caller compares again.
    const SLACK: f64 = 1e-3;

    /// The classes with a log-probability of `least` or more, of `classes`: there is room for as many as there can be.
    pub fn from(least: f64, classes: usize) -> Self {
        let least = least - Self::SLACK;
        // Probabilities sum to 1.
        let room = ((-least).exp().ceil()).min(classes as f64) as usize;
        Self { least: least as f32, room: room.max(1) }
    }
}

impl Op for Likely {
    fn name(&self) -> &'static str {
        "likely"
    }

    fn infer(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        expect(self.name(), inputs, &[DType::F32])?;
        match *inputs[0].shape.dims() {
            [rows, vocab] if (1..=Self::MOST_CLASSES).contains(&vocab) && self.room > 0 => {
                Ok(vec![Spec::u32([rows]), Spec::u32([rows, self.room]), Spec::f32([rows, self.room])])
            }
            _ => Err(mismatch(self.name(), inputs, "rows of 1 to 32768 classes, and room for 1 or more")),
        }
    }

    fn record(&self, rec: &mut Recorder, inputs: &[Operand], outputs: &[Operand]) -> Result<()> {
        let vocab = inputs[0].shape().last();
        for tile in rec.tiles(inputs[0].shape().rows(), &[vocab, self.room])? {
            let params = likely::Params {
                rows: tile.len() as u32,
                columns: vocab as u32,
                room: self.room as u32,
                least: self.least,
            };
            let counts = outputs[0].rows(&tile, 1);
            let [ids, logs] = [1, 2].map(|i: usize| outputs[i].rows(&tile, self.room));
            let bindings = [&inputs[0].rows(&tile, vocab), &counts, &ids, &logs];
            rec.dispatch(likely::VARIANTS, &[], &params, &bindings, tile.len())?;
        }
        Ok(())
    }

    fn reference(&self, inputs: &[&Array]) -> Vec<Array> {
        let rows = inputs[0].shape()[0];
        let mut counts = Array::zeros(vec![rows]);
        let (mut ids, mut logs) = (Array::zeros(vec![rows, self.room]), Array::zeros(vec![rows, self.room]));
        for (row, values) in inputs[0].rows().into_iter().enumerate() {
            let (top, largest) = best(values.iter().copied());
            let shift = largest + values.mapv(|x| (x - largest).exp()).sum().ln();
            let found = values.iter().map(|x| x - shift).enumerate();
            let found = found.filter(|&(id, log)| log >= f64::from(self.least) || id == top);
            for (place, (id, log)) in found.take(self.room).enumerate() {
                counts[[row]] = place as f64 + 1.0;
                ids[[row, place]] = id as f64;
                logs[[row, place]] = log;
            }
        }
        vec![counts, ids, logs]
    }
}

impl Tensor {
    /// Of rows `[rows, vocab]`, the classes that `likely` asks for: counts u32 `[rows]`, ids u32 and log-probabilities
    /// `[rows, room]`.
    ///
    /// # Errors
    /// When the tensor is no f32 matrix, or has no or too many classes.
    pub fn likely(&self, likely: Likely) -> Result<[Tensor; 3]> {
        let mut outputs = self.graph().apply(Arc::new(likely), &[self])?;
        let logs = outputs.swap_remove(2);
        let ids = outputs.swap_remove(1);
        Ok([outputs.swap_remove(0), ids, logs])
    }
}
