//! The CTC loss and its gradient.

use std::ops::Range;
use std::sync::Arc;

use super::definition::{forward_backward, log_softmax};
use crate::error::Result;
use crate::exec::{Operand, Recorder};
use crate::graph::Tensor;
use crate::ops::{Array, Op, Vjp, expect, mismatch};
use crate::shader::ctc::{alpha, beta, ctc_loss_backward, emission, gradient, labels, loss};
use crate::shape::{DType, Spec};

/// loss\[b\] = −log p(targets\[b\] | logits\[b\]), the sum over all alignments of the target to the frames,
/// with p = softmax(logits) in every frame (Graves et al. 2006).
///
/// Operands: logits f32 \[batch, time, vocab\], targets u32 \[batch, max_target_length\], input lengths u32 \[batch\],
/// target lengths u32 \[batch\]. Lengths are data: frames and labels beyond them are not looked at.
///
/// Results: loss \[batch\]; infeasible \[batch\], 1 where the target is impossible, else 0; and, for the
/// derivative, gradient \[batch, time, vocab\] = dloss\[b\]/dlogits = softmax − posterior, 0 beyond the input
/// length and where the target is impossible.
///
/// A target is impossible where it needs more frames than there are (a label repeated at once needs a blank
/// between), where a label is the blank or none of the vocabulary, and where a length passes `time` or
/// `max_target_length`. Its loss is infinite or 0 as PyTorch's is; its gradient is 0 in both cases, where PyTorch's is
/// NaN without `zero_infinity`. The empty target is possible: only blanks; without any frame its loss is 0.
/// A logit of NaN or +∞ gives a loss that is not finite.
///
/// Each frame's maximum is taken out of the forward and backward variables, which are pairs of a whole number
/// and a rest, so that nothing is lost over thousands of frames; what was taken out is summed in two floats;
/// posteriors are normalized in every frame. The utterances are tiled such that the forward variables of a
/// tile can be bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CtcLoss {
    /// The class that is no label.
    pub blank: u32,
    /// Whether an impossible target has loss 0 instead of infinity; its gradient is 0 either way.
    pub zero_infinity: bool,
}

impl CtcLoss {
    /// Loss and gradient of one utterance, `[frames, vocab]`.
    fn utterance(&self, logits: &[f64], vocab: usize, labels: &[usize]) -> (f64, Vec<f64>) {
        let log_probs = log_softmax(logits, vocab);
        let (loss, posterior) = forward_backward(&log_probs, vocab, labels, self.blank as usize);
        if loss == f64::INFINITY {
            return (loss, posterior);
        }
        (loss, log_probs.iter().zip(posterior).map(|(log_p, posterior)| log_p.exp() - posterior).collect())
    }
}

/// The bindings of the kernels; `labels` serves the batch, all scratch memory after it one tile of utterances.
#[derive(Clone, Copy)]
struct Buffers<'a> {
    logits: &'a Operand,
    targets: &'a Operand,
    input_lengths: &'a Operand,
    target_lengths: &'a Operand,
    loss: &'a Operand,
    infeasible: &'a Operand,
    gradient: &'a Operand,
    labels: &'a Operand,
    lse: &'a Operand,
    emissions: &'a Operand,
    alpha: &'a Operand,
    beta: &'a Operand,
    peaks: &'a Operand,
}

impl Buffers<'_> {
    /// time, vocab and max_target_length.
    fn sizes(&self) -> [u32; 3] {
        [self.logits.dims()[1], self.logits.dims()[2], self.targets.dims()[1]].map(|size| size as u32)
    }
}

/// The rows `rows` of `operand`, and the element of the binding that they start at: offsets are aligned.
fn bind_rows(rec: &Recorder, operand: &Operand, rows: &Range<usize>, width: usize) -> (Operand, u32) {
    let step = (rec.capabilities().storage_alignment as usize / 4).max(1);
    let start = rows.start * width;
    let aligned = start / step * step;
    (operand.slice(aligned..rows.end * width), (start - aligned) as u32)
}

impl CtcLoss {
    fn emissions(
        &self,
        rec: &mut Recorder,
        buffers: &Buffers,
        tile: &Range<usize>,
        rows: &Range<usize>,
    ) -> Result<()> {
        let [time, vocab, max_target_length] = buffers.sizes();
        let (logits, start) = bind_rows(rec, buffers.logits, rows, vocab as usize);
        let params = emission::Params {
            rows: rows.len() as u32,
            first_row: (rows.start - tile.start * time as usize) as u32,
            start,
            first_utterance: tile.start as u32,
            time,
            vocab,
            max_target_length,
            blank: self.blank,
        };
        let Buffers { targets, input_lengths, target_lengths, lse, emissions, .. } = *buffers;
        let bindings = [&logits, targets, input_lengths, target_lengths, lse, emissions];
        rec.dispatch(emission::VARIANTS, &[], &params, &bindings, rows.len())
    }

    /// alpha, the loss, and beta, the recursions a run of frames at a time.
    fn recursions(&self, rec: &mut Recorder, buffers: &Buffers, tile: &Range<usize>) -> Result<()> {
        let [time, _, max_target_length] = buffers.sizes();
        let Buffers { targets, input_lengths, target_lengths, lse, emissions, .. } = *buffers;
        let Buffers { alpha, beta, peaks, loss, infeasible, .. } = *buffers;
        let (utterances, first_utterance) = (tile.len() as u32, tile.start as u32);

        let states = 2 * max_target_length + 1;
        let width = rec.choose(alpha::VARIANTS, &[], &alpha::Params::default(), &[], 0)?.workgroup_size;
        let run = (rec.capabilities().loop_passes / (states.div_ceil(width) + width + 1)) as usize;
        let starts = (0..time).step_by(run.max(1));
        let runs: Vec<_> = starts.map(|start| start..time.min(start + run.max(1) as u32)).collect();
        // Exponentials weigh more than bytes.
        let work =
            |frames: &Range<u32>| f64::from(utterances) * frames.len() as f64 * f64::from(states) * 32.0;
        for frames in &runs {
            let (first_frame, last_frame) = (frames.start, frames.end);
            let params = alpha::Params {
                utterances,
                first_utterance,
                first_frame,
                last_frame,
                time,
                max_target_length,
            };
            let bindings = [emissions, targets, input_lengths, target_lengths, alpha, peaks];
            rec.dispatch(alpha::VARIANTS, &[], &params, &bindings, tile.len())?;
            rec.work(work(frames));
        }
        let impossible = if self.zero_infinity { 0.0 } else { f32::INFINITY };
        let params = loss::Params { utterances, first_utterance, time, max_target_length, impossible };
        let bindings = [lse, peaks, alpha, input_lengths, target_lengths, loss, infeasible];
        rec.dispatch(loss::VARIANTS, &[], &params, &bindings, tile.len())?;
        for frames in runs.iter().rev() {
            let (first_frame, last_frame) = (frames.start, frames.end);
            let params = beta::Params {
                utterances,
                first_utterance,
                first_frame,
                last_frame,
                time,
                max_target_length,
            };
            let bindings = [emissions, targets, input_lengths, target_lengths, alpha, beta, peaks];
            rec.dispatch(beta::VARIANTS, &[], &params, &bindings, tile.len())?;
            rec.work(work(frames));
        }
        Ok(())
    }

    fn gradient(
        &self,
        rec: &mut Recorder,
        buffers: &Buffers,
        tile: &Range<usize>,
        rows: &Range<usize>,
    ) -> Result<()> {
        let [time, vocab, max_target_length] = buffers.sizes();
        let (logits, start) = bind_rows(rec, buffers.logits, rows, vocab as usize);
        let (dlogits, _) = bind_rows(rec, buffers.gradient, rows, vocab as usize);
        let params = gradient::Params {
            rows: rows.len() as u32,
            first_row: (rows.start - tile.start * time as usize) as u32,
            start,
            first_utterance: tile.start as u32,
            time,
            vocab,
            max_target_length,
            blank: self.blank,
        };
        let Buffers { lse, alpha, labels, input_lengths, target_lengths, infeasible, .. } = *buffers;
        let bindings = [&logits, lse, alpha, labels, input_lengths, target_lengths, infeasible, &dlogits];
        rec.dispatch(gradient::VARIANTS, &[], &params, &bindings, rows.len())
    }
}

impl Op for CtcLoss {
    fn name(&self) -> &'static str {
        "ctc_loss"
    }

    fn infer(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        expect(self.name(), inputs, &[DType::F32, DType::U32, DType::U32, DType::U32])?;
        match [0, 1, 2, 3].map(|i: usize| inputs[i].shape.dims()) {
            [&[batch, _, vocab], &[rows, _], &[frames], &[labels]]
                if [rows, frames, labels] == [batch; 3] && (self.blank as usize) < vocab =>
            {
                Ok(vec![Spec::f32([batch]), Spec::f32([batch]), inputs[0].clone()])
            }
            _ => {
                let wanted =
                    "[batch, time, vocab], [batch, max_target_length], [batch], [batch], blank below vocab";
                Err(mismatch(self.name(), inputs, wanted))
            }
        }
    }

    fn record(&self, rec: &mut Recorder, inputs: &[Operand], outputs: &[Operand]) -> Result<()> {
        let [batch, time, vocab] = [0, 1, 2].map(|axis: usize| inputs[0].dims()[axis]);
        let max_target_length = inputs[1].dims()[1];
        let states = 2 * max_target_length + 1;
        let limit = (rec.capabilities().max_binding / 4) as usize;
        let utterances = (limit / (2 * time * states).max(1)).clamp(1, batch.max(1));
        let buffers = Buffers {
            logits: &inputs[0],
            targets: &inputs[1],
            input_lengths: &inputs[2],
            target_lengths: &inputs[3],
            loss: &outputs[0],
            infeasible: &outputs[1],
            gradient: &outputs[2],
            labels: &rec.scratch(DType::U32, [batch, max_target_length, 2]),
            lse: &rec.scratch(DType::F32, [utterances, time, 2]),
            emissions: &rec.scratch(DType::F32, [utterances, time, max_target_length + 1, 2]),
            alpha: &rec.scratch(DType::F32, [utterances, time, states, 2]),
            beta: &rec.scratch(DType::F32, [utterances, 2, states, 2]),
            peaks: &rec.scratch(DType::F32, [utterances, time]),
        };

        let params = labels::Params { batch: batch as u32, max_target_length: max_target_length as u32 };
        let bindings = [buffers.targets, buffers.target_lengths, buffers.labels];
        rec.dispatch(labels::VARIANTS, &[], &params, &bindings, batch * max_target_length)?;

        // A little less than the limit, for what alignment adds.
        let spare = rec.capabilities().storage_alignment as usize / 4;
        let rows = (limit.saturating_sub(spare) / vocab).max(1);
        for first in (0..batch).step_by(utterances) {
            let tile = first..batch.min(first + utterances);
            let frames = tile.start * time..tile.end * time;
            let starts = frames.clone().step_by(rows);
            let chunks: Vec<_> = starts.map(|row| row..frames.end.min(row + rows)).collect();
            for chunk in &chunks {
                self.emissions(rec, &buffers, &tile, chunk)?;
            }
            self.recursions(rec, &buffers, &tile)?;
            for chunk in &chunks {
                self.gradient(rec, &buffers, &tile, chunk)?;
            }
        }
        Ok(())
    }

    fn reference(&self, inputs: &[&Array]) -> Vec<Array> {
        let [batch, time, vocab] = [0, 1, 2].map(|axis: usize| inputs[0].shape()[axis]);
        let max_target_length = inputs[1].shape()[1];
        let logits: Vec<f64> = inputs[0].iter().copied().collect();
        let (mut loss, mut infeasible) = (Array::zeros(vec![batch]), Array::zeros(vec![batch]));
        let mut dlogits = Vec::with_capacity(logits.len());
        for b in 0..batch {
            let (frames, length) = (inputs[2][[b]] as usize, inputs[3][[b]] as usize);
            let labels: Vec<usize> =
                (0..length.min(max_target_length)).map(|l| inputs[1][[b, l]] as usize).collect();
            let row = &logits[b * time * vocab..(b * time + frames.min(time)) * vocab];
            let (mut value, mut own) = self.utterance(row, vocab, &labels);
            if frames > time || length > max_target_length {
                (value, own) = (f64::INFINITY, Vec::new());
            }
            if value == f64::INFINITY {
                infeasible[[b]] = 1.0;
            }
            loss[[b]] = if value == f64::INFINITY && self.zero_infinity { 0.0 } else { value };
            dlogits.extend(own);
            dlogits.resize((b + 1) * time * vocab, 0.0);
        }
        let mut values = dlogits.into_iter();
        let dlogits = Array::from_shape_simple_fn(inputs[0].raw_dim(), || values.next().unwrap_or(0.0));
        vec![loss, infeasible, dlogits]
    }

    fn vjp(&self, ctx: &Vjp) -> Result<Vec<Option<Tensor>>> {
        let dlogits = ctx.outputs[2].apply(CtcLossBackward, &[ctx.dy()?])?;
        Ok(vec![Some(dlogits), None, None, None])
    }
}

/// dlogits\[b, t, v\] = dloss\[b\]·gradient\[b, t, v\]: gradient \[batch, time, vocab\] is the third result of
/// [`CtcLoss`], dloss is \[batch\].
#[derive(Debug, Clone, Copy)]
pub struct CtcLossBackward;

impl Op for CtcLossBackward {
    fn name(&self) -> &'static str {
        "ctc_loss_backward"
    }

    fn infer(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        expect(self.name(), inputs, &[DType::F32; 2])?;
        match [0, 1].map(|i: usize| inputs[i].shape.dims()) {
            [&[batch, _, _], &[losses]] if batch == losses => Ok(vec![inputs[0].clone()]),
            _ => Err(mismatch(self.name(), inputs, "[batch, time, vocab], [batch]")),
        }
    }

    fn record(&self, rec: &mut Recorder, inputs: &[Operand], outputs: &[Operand]) -> Result<()> {
        let batch = inputs[0].dims()[0];
        for tile in rec.tiles(inputs[0].elements(), &[1])? {
            let params = ctc_loss_backward::Params {
                elements: tile.len() as u32,
                first: tile.start as u32,
                batch: batch as u32,
                utterance: (inputs[0].elements() / batch.max(1)) as u32,
            };
            let elements = tile.len();
            let bindings = [&inputs[0].slice(tile.clone()), &inputs[1], &outputs[0].slice(tile)];
            rec.dispatch(ctc_loss_backward::VARIANTS, &[], &params, &bindings, elements)?;
        }
        Ok(())
    }

    fn reference(&self, inputs: &[&Array]) -> Vec<Array> {
        let mut dlogits = inputs[0].clone();
        for (mut utterance, &dloss) in dlogits.outer_iter_mut().zip(inputs[1]) {
            utterance *= dloss;
        }
        vec![dlogits]
    }
}

impl Tensor {
    /// (loss, infeasible): the CTC loss of every utterance, and 1 where its target is impossible, both \[batch\].
    /// This tensor holds the logits; operands and corner cases are those of [`CtcLoss`].
    ///
    /// # Errors
    /// When the shapes or types do not fit.
    pub fn ctc_loss(
        &self,
        targets: &Tensor,
        input_lengths: &Tensor,
        target_lengths: &Tensor,
        options: CtcLoss,
    ) -> Result<(Tensor, Tensor)> {
        let operands = [self, targets, input_lengths, target_lengths];
        let outputs = self.graph().apply(Arc::new(options), &operands)?;
        Ok((outputs[0].clone(), outputs[1].clone()))
    }
}
