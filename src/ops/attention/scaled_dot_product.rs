//! Attention over the valid frames, with rotary or relative positions.

use std::sync::Arc;

use super::backward::AttentionBackward;
use super::definition::Definition;
use super::walk::{FORWARD, Part, Walk};
use crate::error::Result;
use crate::exec::{Operand, Recorder};
use crate::graph::Tensor;
use crate::ops::{Array, Op, Vjp, expect, mismatch};
use crate::shape::{DType, Spec};

/// Layout of queries, keys and values in the columns of the projection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QkvLayout {
    /// [3, H, d_h]: the queries of all heads, then the keys, then the values.
    PartMajor,
    /// [H, 3, d_h]: queries, keys and values of the first head, then those of the next.
    HeadMajor,
}

/// The position encoding of the scores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Positions {
    /// None.
    Absent,
    /// Queries and keys are rotated: RoPE (Su et al. 2021). The columns (2c, 2c + 1) of frame t are rotated by
    /// the angle of which the operand [time, d_h] has sine and cosine in these columns.
    Rotary,
    /// Distances have a vector: Transformer-XL (Dai et al. 2019). The operands p [time, d] and [2, H, d_h], the
    /// biases u and v, add (q_i + v)·p_|i − j| + u·k_j.
    Relative,
}

/// y_i = Σ_j softmax_j(score_ij)·v_j in each of H heads, over the keys j < lengths\[b\]; 0 where there is none.
/// score_ij is scale · q_i·k_j, with [`Positions`] scale · R_i q_i · R_j k_j or
/// scale · ((q_i + u)·k_j + (q_i + v)·p_|i − j|).
///
/// Operands: the projection [batch, time, 3·d], lengths u32 `[batch]`, and those of the positions. Results:
/// y [batch, time, d], the heads side by side, and, for the derivative, log Σ_j exp(score_ij) [batch, H, time],
/// 0 where there is no key, which passes no gradient on. All frames are queries, padded ones too.
///
/// The softmax is computed online, over blocks of keys (Milakov and Gimelshein 2018), in f32; the derivative recomputes
/// the weights (Dao et al. 2022). Memory is linear in the time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Attention {
    /// Number of heads H.
    pub heads: usize,
    /// Layout of the projection.
    pub layout: QkvLayout,
    /// The position encoding of the scores.
    pub positions: Positions,
    /// Factor of the scores.
    pub scale: f32,
}

/// Sizes of the operands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    pub batch: usize,
    pub time: usize,
    pub heads: usize,
    /// Elements of a query, a key or a value.
    pub head_dim: usize,
}

impl Sizes {
    /// d = H·d_h.
    pub fn width(&self) -> usize {
        self.heads * self.head_dim
    }
}

impl Attention {
    pub(super) fn sizes(&self, projection: &[usize]) -> Sizes {
        let head_dim = projection[2] / (3 * self.heads);
        Sizes { batch: projection[0], time: projection[1], heads: self.heads, head_dim }
    }

    /// Columns from a head to the next, and from queries to keys and keys to values.
    pub(super) fn strides(&self, sizes: &Sizes) -> [usize; 2] {
        match self.layout {
            QkvLayout::PartMajor => [sizes.head_dim, sizes.width()],
            QkvLayout::HeadMajor => [3 * sizes.head_dim, sizes.head_dim],
        }
    }

    /// How many operands the forward has.
    pub(super) fn operands(&self) -> usize {
        match self.positions {
            Positions::Absent => 2,
            Positions::Rotary => 3,
            Positions::Relative => 4,
        }
    }

    /// Checks the projection, the lengths and the positions' operands, the first of `inputs`.
    pub(super) fn check(&self, op: &str, inputs: &[Spec]) -> Result<Sizes> {
        let wanted = "takes a projection [batch, time, 3·heads·d_h] and lengths [batch]";
        let projection = inputs[0].shape.dims();
        let parts = 3 * self.heads;
        let whole = parts > 0
            && projection.len() == 3
            && projection[2] > 0
            && projection[2].is_multiple_of(parts)
            && inputs[1].shape.dims() == &projection[..1];
        if !whole {
            return Err(mismatch(op, inputs, &format!("{wanted}, with {} heads", self.heads)));
        }
        let sizes = self.sizes(projection);
        let others: Vec<&[usize]> = inputs[2..self.operands()].iter().map(|spec| spec.shape.dims()).collect();
        let fits = match (self.positions, others.as_slice()) {
            (Positions::Absent, _) => true,
            (Positions::Rotary, [table]) => {
                sizes.head_dim.is_multiple_of(2) && *table == [sizes.time, sizes.head_dim]
            }
            (Positions::Relative, [table, bias]) => {
                *table == [sizes.time, sizes.width()] && *bias == [2, sizes.heads, sizes.head_dim]
            }
            _ => false,
        };
        if !fits {
            let rotary = "sines and cosines [time, d_h], d_h even";
            let own = if self.positions == Positions::Rotary {
                rotary
            } else {
                "p [time, d] and bias [2, heads, d_h]"
            };
            return Err(mismatch(op, inputs, &format!("{wanted}, with {} heads, and {own}", self.heads)));
        }
        Ok(sizes)
    }

    /// Types of the operands of the forward.
    pub(super) fn types(&self) -> Vec<DType> {
        let mut types = vec![DType::F32; self.operands()];
        types[1] = DType::U32;
        types
    }

    /// The operands for positions and biases as the kernels bind them: the projection where there are none.
    pub(super) fn tables<'a>(&self, projection: &'a Operand, inputs: &'a [Operand]) -> [&'a Operand; 2] {
        match self.positions {
            Positions::Absent => [projection; 2],
            Positions::Rotary => [&inputs[2], projection],
            Positions::Relative => [&inputs[2], &inputs[3]],
        }
    }
}

impl Op for Attention {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn infer(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        expect(self.name(), inputs, &self.types())?;
        let sizes = self.check(self.name(), inputs)?;
        let lse = Spec::f32([sizes.batch, sizes.heads, sizes.time]);
        Ok(vec![Spec::f32([sizes.batch, sizes.time, sizes.width()]), lse])
    }

    fn record(&self, rec: &mut Recorder, inputs: &[Operand], outputs: &[Operand]) -> Result<()> {
        let sizes = self.sizes(inputs[0].dims());
        let (row, width) = (sizes.time * 3 * sizes.width(), sizes.time * sizes.width());
        for tile in rec.utterances(sizes.batch, width, 3)? {
            let projection = inputs[0].rows(&tile, row);
            let [positions, bias] = self.tables(&projection, inputs);
            let y = outputs[0].rows(&tile, width);
            let bindings = [&projection, &inputs[1], positions, bias, &outputs[1], &y];
            let walk = Walk { op: self, sizes, utterances: tile.clone() };
            walk.record(rec, &FORWARD, Part::default(), &bindings)?;
        }
        Ok(())
    }

    fn reference(&self, inputs: &[&Array]) -> Vec<Array> {
        Definition::new(self, inputs).forward()
    }

    fn vjp(&self, ctx: &Vjp) -> Result<Vec<Option<Tensor>>> {
        let mut operands: Vec<&Tensor> = ctx.inputs.iter().collect();
        operands.extend([&ctx.outputs[1], &ctx.outputs[0], ctx.dy()?]);
        let grads = ctx.inputs[0].graph().apply(Arc::new(AttentionBackward(*self)), &operands)?;
        let mut grads = grads.into_iter();
        let mut gradients = vec![grads.next(), None];
        gradients.extend((2..self.operands()).map(|_| grads.next()));
        Ok(gradients)
    }
}

impl Tensor {
    /// [`Attention`] of this projection [batch, time, 3·d] over the first `lengths` frames → [batch, time, d].
    /// `positions` are the operands that `op.positions` asks for.
    ///
    /// # Errors
    /// When the shapes do not fit, or d_h is odd with rotary positions.
    pub fn attention(&self, op: Attention, lengths: &Tensor, positions: &[&Tensor]) -> Result<Tensor> {
        let mut operands = vec![self, lengths];
        operands.extend(positions);
        Ok(self.graph().apply(Arc::new(op), &operands)?.swap_remove(0))
    }
}
