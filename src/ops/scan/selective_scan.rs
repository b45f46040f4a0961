//! The selective scan.

use std::ops::Range;
use std::sync::Arc;

use ndarray::IxDyn;

use super::selective_scan_backward::SelectiveScanBackward;
use crate::error::Result;
use crate::exec::{Operand, Recorder};
use crate::graph::Tensor;
use crate::ops::{Array, Op, Vjp, expect, mismatch};
use crate::shader::scan::{chunk_carry, chunk_scan, selective_scan};
use crate::shape::{DType, Spec};

/// States of a channel.
pub const STATE: usize = 16;
/// Frames of a chunk, as in `shared/scan`.
const CHUNK: usize = 64;
/// Rows of a chunk's border: the states, and the sum of Δ.
pub(super) const BORDER: usize = STATE + 1;

/// With 16 states h_c of each channel c, which are 0 before the first frame:
///
/// h_c,t = exp(Δ_c,t A_c) h_c,t−1 + Δ_c,t u_c,t B_t,  y_c,t = C_t·h_c,t + D_c u_c,t,  A = −exp(A_log)
///
/// (Gu and Dao 2023, with the discretisation of their code). Operands: u and Δ [batch, time, channels], A_log
/// [channels, 16], B and C side by side [batch, time, 32], D `[channels]`, lengths u32 `[batch]`. Frames from
/// lengths\[b\] on leave the states alone and have y = 0. With `reverse` the walk goes from the last valid frame
/// to the first.
///
/// The second result [batch, ⌈time/64⌉, 17, channels] serves the derivative: for each chunk of 64 frames the
/// states that it starts from, and the sum of its Δ. Chunks are scanned on their own, then joined, as exp(A ΣΔ)
/// takes states through a chunk, then scanned again from what they start from. They begin at multiples of 64 in
/// both directions, so that an utterance has the same bits in every batch.
#[derive(Debug, Clone, Copy)]
pub struct SelectiveScan {
    /// Whether the walk goes from the last frame to the first.
    pub reverse: bool,
}

/// The chunks in the order of the walk: the number of each and its valid frames.
pub(super) fn walk(time: usize, valid: usize, reverse: bool) -> Vec<(usize, Vec<usize>)> {
    let frames = |range: Range<usize>| range.filter(|&t| t < valid).collect();
    let chunk = |c: usize| (c, frames(c * CHUNK..time.min((c + 1) * CHUNK)));
    let mut chunks: Vec<(usize, Vec<usize>)> = (0..time.div_ceil(CHUNK)).map(chunk).collect();
    if reverse {
        chunks.reverse();
        chunks.iter_mut().for_each(|(_, frames)| frames.reverse());
    }
    chunks
}

impl SelectiveScan {
    /// The shape of the chunks' borders.
    fn border(batch: usize, time: usize, channels: usize) -> [usize; 4] {
        [batch, time.div_ceil(CHUNK), BORDER, channels]
    }

    /// Whether the kernels walk down; the recursion of the gradient runs against that of the states.
    pub(super) fn descend(self, adjoint: bool) -> (&'static str, f64) {
        ("DESCEND", f64::from(u8::from(self.reverse != adjoint)))
    }

    /// Scans each chunk of the utterances `tile` on its own: x is u, or dy for the recursion of the gradient.
    pub(super) fn scan_chunks(
        self,
        rec: &mut Recorder,
        tile: &Range<usize>,
        [x, delta, a_log, bc, lengths, border]: [&Operand; 6],
        adjoint: bool,
    ) -> Result<()> {
        let (time, channels) = (delta.dims()[1], delta.shape().last());
        let chunks = time.div_ceil(CHUNK);
        let params = chunk_scan::Params {
            first: tile.start as u32,
            batches: tile.len() as u32,
            time: time as u32,
            channels: channels as u32,
            chunks: chunks as u32,
        };
        let constants = [self.descend(adjoint), ("ADJOINT", f64::from(u8::from(adjoint)))];
        let [x, delta] = [x, delta].map(|operand| operand.rows(tile, time * channels));
        let bindings = [&x, &delta, a_log, bc, lengths, border];
        rec.dispatch(chunk_scan::VARIANTS, &constants, &params, &bindings, tile.len() * chunks * channels)?;
        rec.work((tile.len() * time * channels * STATE) as f64 * 10.0);
        Ok(())
    }

    /// Turns the states behind each chunk alone into those that each chunk starts from.
    pub(super) fn carry(
        self,
        rec: &mut Recorder,
        a_log: &Operand,
        border: &Operand,
        adjoint: bool,
    ) -> Result<()> {
        let [batch, chunks, channels] = [0, 1, 3].map(|axis: usize| border.dims()[axis]);
        let params =
            chunk_carry::Params { batch: batch as u32, channels: channels as u32, chunks: chunks as u32 };
        let constants = [self.descend(adjoint)];
        rec.dispatch(chunk_carry::VARIANTS, &constants, &params, &[a_log, border], batch * STATE * channels)
    }
}

impl Op for SelectiveScan {
    fn name(&self) -> &'static str {
        "selective_scan"
    }

    fn infer(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        let types = [DType::F32, DType::F32, DType::F32, DType::F32, DType::F32, DType::U32];
        expect(self.name(), inputs, &types)?;
        match [0, 1, 2, 3, 4, 5].map(|i: usize| inputs[i].shape.dims()) {
            [u @ &[batch, time, channels], delta, a_log, bc, d, lengths]
                if channels > 0
                    && delta == u
                    && a_log == [channels, STATE]
                    && bc == [batch, time, 2 * STATE]
                    && d == [channels]
                    && lengths == [batch] =>
            {
                Ok(vec![inputs[0].clone(), Spec::f32(Self::border(batch, time, channels))])
            }
            _ => {
                let wanted = "u and Δ [batch, time, channels], A_log [channels, 16], B and C [batch, time, 32], \
                              D [channels], lengths [batch]";
                Err(mismatch(self.name(), inputs, wanted))
            }
        }
    }

    fn record(&self, rec: &mut Recorder, inputs: &[Operand], outputs: &[Operand]) -> Result<()> {
        let [u, delta, a_log, bc, d, lengths] = [0, 1, 2, 3, 4, 5].map(|i: usize| &inputs[i]);
        let (y, border) = (&outputs[0], &outputs[1]);
        let [batch, chunks, channels] = [0, 1, 3].map(|axis: usize| border.dims()[axis]);
        let time = u.dims()[1];
        let tiles = rec.utterances(batch, time * channels, 1)?;
        for tile in &tiles {
            self.scan_chunks(rec, tile, [u, delta, a_log, bc, lengths, border], false)?;
        }
        self.carry(rec, a_log, border, false)?;
        for tile in &tiles {
            let params = selective_scan::Params {
                first: tile.start as u32,
                batches: tile.len() as u32,
                time: time as u32,
                channels: channels as u32,
                chunks: chunks as u32,
            };
            let constants = [self.descend(false)];
            let [u, delta, y] = [u, delta, y].map(|operand| operand.rows(tile, time * channels));
            let bindings = [&u, &delta, a_log, bc, d, lengths, border, &y];
            rec.dispatch(
                selective_scan::VARIANTS,
                &constants,
                &params,
                &bindings,
                tile.len() * chunks * channels,
            )?;
            rec.work((tile.len() * time * channels * STATE) as f64 * 12.0);
        }
        Ok(())
    }

    fn reference(&self, inputs: &[&Array]) -> Vec<Array> {
        let [u, delta, a_log, bc, d, lengths] = [0, 1, 2, 3, 4, 5].map(|i: usize| inputs[i]);
        let [batch, time, channels] = [0, 1, 2].map(|axis: usize| u.shape()[axis]);
        let mut y = Array::zeros(u.raw_dim());
        let mut border = Array::zeros(IxDyn(&Self::border(batch, time, channels)));
        for b in 0..batch {
            let walk = walk(time, lengths[[b]] as usize, self.reverse);
            for c in 0..channels {
                let mut h = [0.0; STATE];
                for (chunk, frames) in &walk {
                    h.iter().enumerate().for_each(|(n, &h)| border[[b, *chunk, n, c]] = h);
                    for &t in frames {
                        let (step, u) = (delta[[b, t, c]], u[[b, t, c]]);
                        border[[b, *chunk, STATE, c]] += step;
                        y[[b, t, c]] = d[[c]] * u;
                        for (n, h) in h.iter_mut().enumerate() {
                            let decay = (-step * a_log[[c, n]].exp()).exp();
                            *h = decay * *h + step * u * bc[[b, t, n]];
                            y[[b, t, c]] += bc[[b, t, STATE + n]] * *h;
                        }
                    }
                }
            }
        }
        vec![y, border]
    }

    fn vjp(&self, ctx: &Vjp) -> Result<Vec<Option<Tensor>>> {
        let mut operands: Vec<&Tensor> = ctx.inputs.iter().collect();
        operands.extend([&ctx.outputs[1], ctx.dy()?]);
        let grads = ctx.inputs[0].graph().apply(Arc::new(SelectiveScanBackward(*self)), &operands)?;
        Ok(grads.into_iter().map(Some).chain([None]).collect())
    }
}

impl Tensor {
    /// The selective scan of this tensor's first `lengths` frames, from the last to the first if `reverse`; see
    /// [`SelectiveScan`].
    ///
    /// # Errors
    /// When the shapes do not fit.
    pub fn selective_scan(
        &self,
        delta: &Tensor,
        a_log: &Tensor,
        bc: &Tensor,
        d: &Tensor,
        lengths: &Tensor,
        reverse: bool,
    ) -> Result<Tensor> {
        let op = Arc::new(SelectiveScan { reverse });
        Ok(self.graph().apply(op, &[self, delta, a_log, bc, d, lengths])?.swap_remove(0))
    }
}
