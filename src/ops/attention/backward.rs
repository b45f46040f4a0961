//! Gradient of the attention.

use super::definition::Definition;
use super::scaled_dot_product::{Attention, Positions, Sizes};
use super::walk::{DISTANCES, KEYS, Part, QUERIES, Walk};
use crate::error::Result;
use crate::exec::{Operand, Recorder};
use crate::ops::reduce::Sum;
use crate::ops::{Array, Op, expect, mismatch};
use crate::shader::attention::{attention_backward_bias, attention_backward_delta};
use crate::shape::{DType, Spec};

/// From the operands of [`Attention`], its second result l, y and dy: the gradient of the projection and, with
/// relative positions, those of p and of the biases u and v.
///
/// With w_ij = exp(score_ij − l_i) and s_ij = w_ij·(dy_i·v_j − dy_i·y_i): dV_j = Σ_i w_ij dy_i,
/// dQ_i = scale Σ_j s_ij (k_j + p_|i − j|), dK_j = scale Σ_i s_ij (q_i + u), dP_n = scale Σ_{|i − j| = n} s_ij
/// (q_i + v), du = scale Σ_j (Σ_i s_ij) k_j, dv = scale Σ_n (Σ_{|i − j| = n} s_ij) p_n. Every kernel owns the rows
/// that it sums for: queries, keys, or distances.
#[derive(Debug, Clone, Copy)]
pub(super) struct AttentionBackward(pub(super) Attention);

/// Frames that one invocation of the biases' gradient sums.
const CHUNK: usize = 64;

impl Op for AttentionBackward {
    fn name(&self) -> &'static str {
        "attention_backward"
    }

    fn infer(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        let mut types = self.0.types();
        types.extend([DType::F32; 3]);
        expect(self.name(), inputs, &types)?;
        let Sizes { batch, time, heads, head_dim } = self.0.check(self.name(), inputs)?;
        let (y, own) = (Spec::f32([batch, time, heads * head_dim]), self.0.operands());
        if inputs[own..] != [Spec::f32([batch, heads, time]), y.clone(), y] {
            return Err(mismatch(self.name(), inputs, "takes the operands, [batch, heads, time], y and dy"));
        }
        let mut specs = vec![inputs[0].clone()];
        if self.0.positions == Positions::Relative {
            specs.extend_from_slice(&inputs[2..4]);
        }
        Ok(specs)
    }

    fn record(&self, rec: &mut Recorder, inputs: &[Operand], outputs: &[Operand]) -> Result<()> {
        let op = &self.0;
        let sizes = op.sizes(inputs[0].dims());
        let Sizes { batch, time, heads, .. } = sizes;
        let width = sizes.width();
        let [lse, y, dy] = [0, 1, 2].map(|i| &inputs[op.operands() + i]);
        let relative = op.positions == Positions::Relative;
        let lse_delta = rec.scratch(DType::F32, [batch, heads, time, 2]);
        let sums = rec.scratch(DType::F32, [if relative { batch * heads * time } else { 1 }]);
        let tiles = rec.utterances(batch, time * width, 3)?;
        let mut biases = Biases::new(rec, op, sizes);
        // The gradient of p is by utterance at first; tiles of utterances add to that of the first tile's.
        let slots = tiles.first().map_or(1, |tile| tile.len());
        let distances = match outputs.get(1) {
            Some(dp) if slots == 1 => Some(dp.clone()),
            Some(_) => Some(rec.scratch(DType::F32, [slots, time * width])),
            None => None,
        };
        for tile in &tiles {
            let projection = inputs[0].rows(tile, time * 3 * width);
            let [y, dy] = [y, dy].map(|operand| operand.rows(tile, time * width));
            record_delta(rec, sizes, tile, &[lse, &y, &dy, &lse_delta])?;
            let [positions, bias] = op.tables(&projection, inputs);
            let gradient = outputs[0].rows(tile, time * 3 * width);
            let bindings = [&projection, &inputs[1], positions, bias, &lse_delta, &dy, &gradient, &sums];
            let walk = Walk { op, sizes, utterances: tile.clone() };
            walk.record(rec, &QUERIES, Part::default(), &bindings)?;
            walk.record(rec, &KEYS, Part { values: true, ..Part::default() }, &bindings)?;
            walk.record(rec, &KEYS, Part::default(), &bindings)?;
            if let Some(distances) = &distances {
                biases.record(rec, tile, &sums, &projection, true)?;
                let bindings = [&projection, &inputs[1], positions, bias, &lse_delta, &dy, distances, &sums];
                for reversed in [false, true] {
                    let part = Part { reversed, added: tile.start > 0, ..Part::default() };
                    walk.record(rec, &DISTANCES, part, &bindings)?;
                }
                biases.record(rec, tile, &sums, positions, false)?;
            }
        }
        if let (Some(distances), true) = (distances, slots > 1) {
            Sum { first: 0, last: 1 }.record(rec, &[distances], &outputs[1..2])?;
        }
        if relative {
            Sum { first: 1, last: 2 }.record(rec, &[biases.partial], &outputs[2..3])
        } else {
            Ok(())
        }
    }

    fn reference(&self, inputs: &[&Array]) -> Vec<Array> {
        let own = self.0.operands();
        Definition::new(&self.0, &inputs[..own]).backward(inputs[own], inputs[own + 1], inputs[own + 2])
    }
}

/// l and dy·y of every query; `bindings` are l, y, dy and the result.
fn record_delta(
    rec: &mut Recorder,
    sizes: Sizes,
    tile: &std::ops::Range<usize>,
    bindings: &[&Operand],
) -> Result<()> {
    let params = attention_backward_delta::Params {
        batches: tile.len() as u32,
        first_batch: tile.start as u32,
        time: sizes.time as u32,
        heads: sizes.heads as u32,
        head_dim: sizes.head_dim as u32,
    };
    rec.dispatch(
        attention_backward_delta::VARIANTS,
        &[],
        &params,
        bindings,
        tile.len() * sizes.time * sizes.heads,
    )
}

/// The gradients of u and v, in chunks of frames of every utterance.
struct Biases<'a> {
    op: &'a Attention,
    sizes: Sizes,
    chunks: usize,
    /// [2, batch · chunks, d].
    partial: Operand,
}

impl<'a> Biases<'a> {
    fn new(rec: &mut Recorder, op: &'a Attention, sizes: Sizes) -> Self {
        let chunks = sizes.time.div_ceil(CHUNK);
        let rows = if op.positions == Positions::Relative { sizes.batch * chunks } else { 0 };
        Self { op, sizes, chunks, partial: rec.scratch(DType::F32, [2, rows, sizes.width()]) }
    }

    /// The chunks of `tile`: of u from the keys of the projection x, of v from the table of positions x.
    fn record(
        &mut self,
        rec: &mut Recorder,
        tile: &std::ops::Range<usize>,
        sums: &Operand,
        x: &Operand,
        keys: bool,
    ) -> Result<()> {
        let Sizes { batch, time, heads, head_dim } = self.sizes;
        let width = self.sizes.width();
        let [head_stride, part_stride] = self.op.strides(&self.sizes);
        let [first_row, x_first, x_batch, x_frame, x_head] = match keys {
            true => [0, part_stride, time * 3 * width, 3 * width, head_stride],
            false => [batch * self.chunks, 0, 0, width, head_dim],
        };
        let params = attention_backward_bias::Params {
            batches: tile.len() as u32,
            first_batch: tile.start as u32,
            time: time as u32,
            heads: heads as u32,
            head_dim: head_dim as u32,
            chunk: CHUNK as u32,
            chunks: self.chunks as u32,
            first_row: first_row as u32,
            x_first: x_first as u32,
            x_batch: x_batch as u32,
            x_frame: x_frame as u32,
            x_head: x_head as u32,
            scale: self.op.scale,
        };
        rec.dispatch(
            attention_backward_bias::VARIANTS,
            &[],
            &params,
            &[sums, x, &self.partial],
            tile.len() * self.chunks * width,
        )
    }
}
