//! Gradients of the selective scan.

use super::selective_scan::{BORDER, STATE, SelectiveScan, walk};
use crate::error::Result;
use crate::exec::{Operand, Recorder};
use crate::ops::conv::sum_chunks;
use crate::ops::reduce::Sum;
use crate::ops::{Array, Op, expect};
use crate::shader::scan::{masked_frames, selective_scan_backward, selective_scan_backward_bc};
use crate::shape::{DType, Spec};

/// du, dΔ, dA_log, d(B, C) and dD from the operands of [`SelectiveScan`], its second result and dy. The walk goes
/// against that of the states, from q = 0 behind the last frame:
///
/// g_t = q_t + dy_t C_t,  q_t−1 = exp(Δ_t A) g_t,  r_t = q_t−1∘h_t−1;
/// du_t = D dy_t + Δ_t g_t·B_t,  dΔ_t = A·r_t + u_t g_t·B_t,  dA_log = A Σ_t Δ_t r_t,
/// dB_t = Σ_c Δ_t u_t g_t,  dC_t = Σ_c dy_t h_t,  dD = Σ_t dy_t u_t.
///
/// Of h and q only the borders of the chunks are stored; each chunk walks through its states again, once with an
/// invocation a channel for the sums over states, once with an invocation a state for the sums over channels.
/// Those are first over blocks of channels, and sums over frames first over the chunks.
#[derive(Debug, Clone, Copy)]
pub(super) struct SelectiveScanBackward(pub(super) SelectiveScan);

/// Channels of a block, as in `selective_scan_backward_bc`.
const BLOCK: usize = 16;

impl Op for SelectiveScanBackward {
    fn name(&self) -> &'static str {
        "selective_scan_backward"
    }

    fn infer(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        let mut types = [DType::F32; 8];
        types[5] = DType::U32;
        expect(self.name(), inputs, &types)?;
        Ok(inputs[..5].to_vec())
    }

    fn record(&self, rec: &mut Recorder, inputs: &[Operand], outputs: &[Operand]) -> Result<()> {
        let [u, delta, a_log, bc] = [0, 1, 2, 3].map(|i: usize| &inputs[i]);
        let [d, lengths, border, dy] = [4, 5, 6, 7].map(|i: usize| &inputs[i]);
        let [batch, chunks, channels] = [0, 1, 3].map(|axis: usize| border.dims()[axis]);
        let time = u.dims()[1];
        let padded = channels.next_multiple_of(BLOCK);
        let tiles = rec.utterances(batch, time * channels, (3 * padded).div_ceil(channels))?;

        let carry = rec.scratch(DType::F32, border.shape().clone());
        for tile in &tiles {
            self.0.scan_chunks(rec, tile, [dy, delta, a_log, bc, lengths, &carry], true)?;
        }
        self.0.carry(rec, a_log, &carry, true)?;

        // A sum for each block of channels, or for several where the sums could not be bound.
        let row_bytes = (batch * time * 2 * STATE * 4).max(1) as u64;
        let sums = (rec.capabilities().max_binding / row_bytes).max(1) as usize;
        let groups = channels.div_ceil(BLOCK).div_ceil(sums);
        let blocks = channels.div_ceil(BLOCK * groups);
        let partial = match blocks {
            1 => outputs[3].clone(),
            _ => rec.scratch(DType::F32, [batch * time, blocks, 2 * STATE]),
        };
        let largest = tiles.iter().map(ExactSizeIterator::len).max().unwrap_or(0);
        let frames = rec.scratch(DType::F32, [largest, time, 3, padded]);
        for tile in &tiles {
            let [u, delta, dy, du, ddelta] =
                [u, delta, dy, &outputs[0], &outputs[1]].map(|operand| operand.rows(tile, time * channels));
            let params = masked_frames::Params {
                rows: (tile.len() * time) as u32,
                first_row: (tile.start * time) as u32,
                time: time as u32,
                channels: channels as u32,
                padded: padded as u32,
            };
            let bindings = [&u, &delta, &dy, lengths, &frames];
            rec.dispatch(masked_frames::VARIANTS, &[], &params, &bindings, tile.len() * time * padded)?;

            let constants = [self.0.descend(false)];
            let work = (tile.len() * time * channels * STATE) as f64;
            let params = selective_scan_backward_bc::Params {
                first: tile.start as u32,
                batches: tile.len() as u32,
                time: time as u32,
                channels: channels as u32,
                padded: padded as u32,
                chunks: chunks as u32,
                blocks: blocks as u32,
                groups: groups as u32,
            };
            let bindings = [&frames, a_log, bc, border, &carry, &partial];
            rec.dispatch(
                selective_scan_backward_bc::VARIANTS,
                &constants,
                &params,
                &bindings,
                tile.len() * chunks * blocks * STATE,
            )?;
            rec.work(work * 25.0);

            let params = selective_scan_backward::Params {
                first: params.first,
                batches: params.batches,
                time: params.time,
                channels: params.channels,
                padded: params.padded,
                chunks: params.chunks,
            };
            let bindings = [&frames, a_log, bc, d, border, &carry, &du, &ddelta];
            rec.dispatch(
                selective_scan_backward::VARIANTS,
                &constants,
                &params,
                &bindings,
                tile.len() * chunks * channels,
            )?;
            rec.work(work * 35.0);
        }
        if blocks > 1 {
            Sum { first: 1, last: 2 }.record(rec, &[partial], &outputs[3..4])?;
        }
        // The kernel has left each chunk's part of dA_log and dD in the rows of its border.
        let rows = Operand { spec: Spec::f32([batch * chunks, BORDER, channels]), ..carry };
        sum_chunks(rec, &rows, batch * chunks, &[outputs[2].clone(), outputs[4].clone()])
    }

    fn reference(&self, inputs: &[&Array]) -> Vec<Array> {
        let [u, delta, a_log, bc] = [0, 1, 2, 3].map(|i: usize| inputs[i]);
        let [d, lengths, dy] = [4, 5, 7].map(|i: usize| inputs[i]);
        let [batch, time, channels] = [0, 1, 2].map(|axis: usize| u.shape()[axis]);
        let mut grads: Vec<Array> = inputs[..5].iter().map(|x| Array::zeros(x.raw_dim())).collect();
        let [du, ddelta, da_log, dbc, dd] = &mut grads[..] else { return Vec::new() };
        for b in 0..batch {
            let walk = walk(time, lengths[[b]] as usize, self.0.reverse);
            let frames: Vec<usize> = walk.into_iter().flat_map(|(_, frames)| frames).collect();
            for c in 0..channels {
                let rate = |n: usize| -a_log[[c, n]].exp();
                let mut states = vec![[0.0; STATE]];
                for (i, &t) in frames.iter().enumerate() {
                    let (step, u) = (delta[[b, t, c]], u[[b, t, c]]);
                    states.push(std::array::from_fn(|n| {
                        (step * rate(n)).exp() * states[i][n] + step * u * bc[[b, t, n]]
                    }));
                }
                let mut q = [0.0; STATE];
                for (i, &t) in frames.iter().enumerate().rev() {
                    let (step, u, dy) = (delta[[b, t, c]], u[[b, t, c]], dy[[b, t, c]]);
                    du[[b, t, c]] = d[[c]] * dy;
                    dd[[c]] += dy * u;
                    for n in 0..STATE {
                        let g = q[n] + dy * bc[[b, t, STATE + n]];
                        q[n] = (step * rate(n)).exp() * g;
                        let r = q[n] * states[i][n];
                        du[[b, t, c]] += step * g * bc[[b, t, n]];
                        ddelta[[b, t, c]] += rate(n) * r + u * g * bc[[b, t, n]];
                        da_log[[c, n]] += rate(n) * step * r;
                        dbc[[b, t, n]] += step * u * g;
                        dbc[[b, t, STATE + n]] += dy * states[i + 1][n];
                    }
                }
            }
        }
        grads
    }
}
