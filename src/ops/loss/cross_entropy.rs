//! Cross-entropy over classes.

use std::sync::Arc;

use super::argmax::best;
use crate::error::Result;
use crate::exec::{Operand, Recorder};
use crate::graph::Tensor;
use crate::ops::{Array, Op, Vjp, expect, mismatch};
use crate::shader::loss::{cross_entropy, cross_entropy_backward, cross_entropy_mean};
use crate::shape::{DType, Spec};

/// loss = mean over the rows that count of −log softmax(logits)\[target\].
///
/// Operands: logits `[rows, vocab]`, targets u32 `[rows]`, count u32 `[1]`: the first min(count, rows) rows
/// count. Results: loss `[1]`, 0 where no row counts; correct `[1]`, how many of these rows have their
/// argmax (the lowest class on ties) at the target; and, saved for the derivative, logsumexp `[rows]`, 0 in
/// rows that do not count. dlogits = (softmax(logits) − onehot(target))·dloss/min(count, rows) in rows that
/// count, else 0. A row whose target is no class has loss 0, no hit and gradient 0, but is counted.
#[derive(Debug, Clone, Copy)]
pub struct CrossEntropy;

/// The rows that count.
fn counted(count: &Array, rows: usize) -> usize {
    count.first().map_or(0, |&count| rows.min(count as usize))
}

impl Op for CrossEntropy {
    fn name(&self) -> &'static str {
        "cross_entropy"
    }

    fn infer(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        expect(self.name(), inputs, &[DType::F32, DType::U32, DType::U32])?;
        match [inputs[0].shape.dims(), inputs[1].shape.dims(), inputs[2].shape.dims()] {
            [[rows, vocab], [targets], [1]] if rows == targets && *vocab > 0 => {
                Ok(vec![Spec::f32([1]), Spec::f32([1]), Spec::f32([*rows])])
            }
            _ => Err(mismatch(
                self.name(),
                inputs,
                "logits [rows, vocab] with vocab above 0, targets [rows] and count [1]",
            )),
        }
    }

    fn record(&self, rec: &mut Recorder, inputs: &[Operand], outputs: &[Operand]) -> Result<()> {
        let (rows, vocab) = (inputs[0].shape().rows(), inputs[0].shape().last());
        let [losses, hits] = [0, 1].map(|_| rec.scratch(DType::F32, [rows]));
        for tile in rec.tiles(rows, &[vocab])? {
            let params = cross_entropy::Params {
                rows: tile.len() as u32,
                columns: vocab as u32,
                first: tile.start as u32,
            };
            let (logits, targets) = (inputs[0].rows(&tile, vocab), inputs[1].rows(&tile, 1));
            let [loss, hit, logsumexp] = [&losses, &hits, &outputs[2]].map(|all| all.rows(&tile, 1));
            let bindings = [&logits, &targets, &inputs[2], &loss, &hit, &logsumexp];
            rec.dispatch(cross_entropy::VARIANTS, &[], &params, &bindings, tile.len())?;
        }
        let params = cross_entropy_mean::Params { rows: rows as u32 };
        let bindings = [&losses, &hits, &inputs[2], &outputs[0], &outputs[1]];
        rec.dispatch(cross_entropy_mean::VARIANTS, &[], &params, &bindings, 1)
    }

    fn reference(&self, inputs: &[&Array]) -> Vec<Array> {
        let (logits, targets) = (inputs[0], inputs[1]);
        let rows = targets.len();
        let count = counted(inputs[2], rows);
        let (mut loss, mut correct) = (0.0, 0.0);
        let mut logsumexp = Array::zeros([rows].as_slice());
        for ((row, &target), saved) in logits.rows().into_iter().zip(targets).zip(&mut logsumexp).take(count)
        {
            let (id, top) = best(row.iter().copied());
            *saved = top + row.mapv(|x| (x - top).exp()).sum().ln();
            if let Some(logit) = row.get(target as usize) {
                loss += (*saved - logit) / count as f64;
                correct += f64::from(u8::from(id as f64 == target));
            }
        }
        let single = |value| Array::from_elem([1].as_slice(), value);
        vec![single(loss), single(correct), logsumexp]
    }

    fn vjp(&self, ctx: &Vjp) -> Result<Vec<Option<Tensor>>> {
        let [logits, targets, count] = [0, 1, 2].map(|i: usize| &ctx.inputs[i]);
        let operands = [targets, count, &ctx.outputs[2], ctx.dy()?];
        Ok(vec![Some(logits.apply(CrossEntropyBackward, &operands)?), None, None])
    }
}

/// logits, targets, count, logsumexp, dloss → dlogits.
#[derive(Debug, Clone, Copy)]
struct CrossEntropyBackward;

impl Op for CrossEntropyBackward {
    fn name(&self) -> &'static str {
        "cross_entropy_backward"
    }

    fn infer(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        expect(self.name(), inputs, &[DType::F32, DType::U32, DType::U32, DType::F32, DType::F32])?;
        Ok(vec![inputs[0].clone()])
    }

    fn record(&self, rec: &mut Recorder, inputs: &[Operand], outputs: &[Operand]) -> Result<()> {
        let (rows, vocab) = (inputs[0].shape().rows(), inputs[0].shape().last());
        for tile in rec.tiles(rows, &[vocab])? {
            let params = cross_entropy_backward::Params {
                rows: tile.len() as u32,
                columns: vocab as u32,
                first: tile.start as u32,
                all: rows as u32,
            };
            let [targets, logsumexp] = [1, 3].map(|i: usize| inputs[i].rows(&tile, 1));
            let (logits, dlogits) = (inputs[0].rows(&tile, vocab), outputs[0].rows(&tile, vocab));
            let bindings = [&logits, &targets, &inputs[2], &logsumexp, &inputs[4], &dlogits];
            rec.dispatch(cross_entropy_backward::VARIANTS, &[], &params, &bindings, tile.len())?;
        }
        Ok(())
    }

    fn reference(&self, inputs: &[&Array]) -> Vec<Array> {
        let [logits, targets, count, logsumexp, dloss] = [0, 1, 2, 3, 4].map(|i: usize| inputs[i]);
        let count = counted(count, targets.len());
        let mut dlogits = Array::zeros(logits.raw_dim());
        let rows = logits.rows().into_iter().zip(dlogits.rows_mut()).zip(targets).zip(logsumexp);
        for (((logits, mut dlogits), &target), logsumexp) in rows.take(count) {
            if target as usize >= logits.len() {
                continue;
            }
            let scale = dloss[[0]] / count as f64;
            for (id, (dlogit, logit)) in dlogits.iter_mut().zip(logits).enumerate() {
                let hit = f64::from(u8::from(id as f64 == target));
                *dlogit = ((logit - logsumexp).exp() - hit) * scale;
            }
        }
        vec![dlogits]
    }

    fn in_place(&self, _: usize) -> &[usize] {
        &[0]
    }
}

impl Tensor {
    /// Of logits `[rows, vocab]`, targets u32 `[rows]` and count u32 `[1]`: the mean of
    /// −log softmax(logits)\[target\] over the first `count` rows, `[1]`, and how many of these rows have
    /// their argmax at the target, `[1]`. Only the first is differentiable.
    ///
    /// # Errors
    /// When the shapes or types are others.
    pub fn cross_entropy(&self, targets: &Tensor, count: &Tensor) -> Result<(Tensor, Tensor)> {
        let mut outputs = self.graph().apply(Arc::new(CrossEntropy), &[self, targets, count])?;
        let correct = outputs.swap_remove(1);
        Ok((outputs.swap_remove(0), correct))
    }
}
