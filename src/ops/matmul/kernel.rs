//! The dispatches of a matmul.

use std::ops::Range;

use super::PlannedMatMul;
use super::mat_mul::Sizes;
use crate::error::Result;
use crate::exec::{Operand, Recorder, Work};
use crate::gpu::DeviceClass;
use crate::ops::finish::Finish;
use crate::shader::Variant;
use crate::shader::matmul::matmul;
use crate::shader::reduce::sum;
use crate::shape::DType;

/// A matmul of which rows of A and C, or of the inner dimension, may be a part.
struct Part<'a> {
    planned: &'a PlannedMatMul,
    batch: usize,
    m: usize,
    n: usize,
    k: usize,
    /// One B for all of the batch.
    shared_b: bool,
    bias: Option<&'a Operand>,
    rng: Option<&'a Operand>,
    lengths: Option<&'a Operand>,
    /// Frames of an utterance, of which `lengths` are.
    time: usize,
    /// The part of the other operand that belongs to C.
    other: Option<Operand>,
    /// The number of C's first element in the whole matmul.
    first: usize,
    /// What the batch's last matmul lacks of k.
    missing_k: usize,
}

/// Workgroups that keep a GPU busy: a sum over k is made of so many parts that there are about as many.
const BUSY: usize = 256;

/// The least k of a part.
const LEAST_K: usize = 256;

/// Of how many parts, each of `size` elements, the sum over `k` can be made; 1 on a CPU, which is never idle.
pub(super) fn most_parts(rec: &Recorder, k: usize, size: usize) -> usize {
    let largest = rec.capabilities().max_binding as usize / (4 * size).max(1);
    if rec.capabilities().class == DeviceClass::Cpu { 1 } else { (k / LEAST_K).min(largest).max(1) }
}

/// Of how many parts a GPU makes the sums of m by n elements, so that it is busy where their tiles alone leave it idle: up to
/// `most`, counted by the tiles of the kernel that computes them.
pub(super) fn parts([m, n]: [usize; 2], most: usize, variant: &Variant) -> usize {
    let tile = variant.tile as usize;
    let tiles = m.div_ceil(tile) * n.div_ceil(tile);
    (BUSY / tiles.max(1)).clamp(1, most)
}

pub(super) fn record(
    rec: &mut Recorder,
    planned: &PlannedMatMul,
    sizes: Sizes,
    inputs: &[Operand],
    c: &Operand,
) -> Result<()> {
    let (op, a, b) = (&planned.matmul, &inputs[0], &inputs[1]);
    let Sizes { batch, m, n, k } = sizes;
    let matmul = Part::whole(planned, sizes, inputs, c);
    if batch == 1 && !op.transpose_a {
        for rows in rec.tiles(m, &[k, n])? {
            let other = matmul.other.as_ref().map(|other| other.rows(&rows, n));
            let part = Part { m: rows.len(), other, first: rows.start * n, ..matmul };
            part.dispatch(rec, &a.rows(&rows, k), b, &c.rows(&rows, n))?;
        }
        return Ok(());
    }
    // Parts of a sum are what they are: neither is the bias of one of them, nor is what follows the matmul theirs.
    if batch == 1 && !op.transpose_b && matmul.bias.is_none() && planned.finish.is_none() {
        let tiles = rec.tiles(k, &[m, n])?;
        if tiles.len() > 1 {
            return matmul.tiled(rec, a, b, c, &tiles);
        }
        let parts = matmul.parts(rec, a, b, c)?;
        if parts > 1 {
            return matmul.split(rec, a, b, c, parts);
        }
    }
    matmul.dispatch(rec, a, b, c)
}

impl<'a> Part<'a> {
    fn whole(planned: &'a PlannedMatMul, sizes: Sizes, inputs: &'a [Operand], c: &Operand) -> Self {
        let Sizes { batch, m, n, k } = sizes;
        let parts = planned.finish.parts(inputs);
        Self {
            planned,
            batch,
            m,
            n,
            k,
            shared_b: inputs[1].shape().rank() == 2,
            bias: parts.own.get(2),
            rng: parts.rng,
            lengths: parts.lengths,
            time: c.dims().get(1).copied().unwrap_or_default(),
            other: parts.other.cloned(),
            first: 0,
            missing_k: 0,
        }
    }

    /// C = Σ over the parts of the inner dimension that the device binds at once, in order.
    fn tiled(
        &self,
        rec: &mut Recorder,
        a: &Operand,
        b: &Operand,
        c: &Operand,
        tiles: &[Range<usize>],
    ) -> Result<()> {
        let size = self.m * self.n;
        let partial = rec.scratch(DType::F32, [tiles.len(), size]);
        for (index, tile) in (0..).zip(tiles) {
            let matmul = Part { k: tile.len(), other: None, ..*self };
            let c = partial.rows(&(index..index + 1), size);
            matmul.dispatch(rec, &a.rows(tile, self.m), &b.rows(tile, self.n), &c)?;
        }
        sum_parts(rec, &partial, c, tiles.len())
    }

    /// Of how many parts a GPU makes the sum over k, so that it is busy where the tiles of C alone leave it idle: counted
    /// by the tiles of the kernel that computes them.
    fn parts(&self, rec: &Recorder, a: &Operand, b: &Operand, c: &Operand) -> Result<usize> {
        let Self { m, n, k, .. } = *self;
        let most = most_parts(rec, k, m * n);
        if most < 2 {
            return Ok(1);
        }
        let work = Work::Tiles { batch: most, m, n };
        let choice = rec.choose(matmul::VARIANTS, &self.constants(a, b), &self.params(c), &[a, b], work)?;
        Ok(parts([m, n], most, choice.variant))
    }

    /// C = Σ over `parts` of the inner dimension, of which all but the last are as long: a batch of matmuls in one
    /// dispatch.
    fn split(&self, rec: &mut Recorder, a: &Operand, b: &Operand, c: &Operand, parts: usize) -> Result<()> {
        let matmul = self.of_parts(parts);
        let partial = rec.scratch(DType::F32, [matmul.batch, self.m * self.n]);
        matmul.dispatch(rec, a, b, &partial)?;
        sum_parts(rec, &partial, c, matmul.batch)
    }

    /// This, whose inner dimension is made of about `parts`, as a batch.
    fn of_parts(&self, parts: usize) -> Self {
        let k = self.k.div_ceil(parts);
        let parts = self.k.div_ceil(k);
        Part { batch: parts, k, missing_k: parts * k - self.k, shared_b: false, other: None, ..*self }
    }

    /// The parameters of the dispatch that writes `c`.
    fn params(&self, c: &Operand) -> matmul::Params {
        let Self { planned, batch, m, n, k, shared_b, first, missing_k, .. } = *self;
        let Finish { dropout, .. } = planned.finish;
        matmul::Params {
            m: m as u32,
            n: n as u32,
            k: k as u32,
            batch: batch as u32,
            missing_k: missing_k as u32,
            batch_stride_a: (m * k) as u32,
            batch_stride_b: if shared_b { 0 } else { (k * n) as u32 },
            batch_stride_c: (m * n) as u32,
            alpha: planned.matmul.alpha,
            scale: planned.finish.factor(),
            threshold: dropout.map_or(0, |dropout| dropout.threshold()),
            stream: dropout.map_or(0, |dropout| dropout.stream),
            first: ((dropout.map_or(0, |dropout| dropout.first) + first) / 4) as u32,
            has_bias: u32::from(self.bias.is_some()),
            place: Finish::place(self.other.as_ref(), c),
            time: planned.finish.frames(self.time),
            first_row: (first / n.max(1)) as u32,
        }
    }

    fn constants(&self, a: &Operand, b: &Operand) -> Vec<(&'static str, f64)> {
        let (planned, flag) = (self.planned, |is_set: bool| f64::from(u8::from(is_set)));
        let mut constants = vec![
            ("TRANSPOSE_A", flag(planned.matmul.transpose_a)),
            ("TRANSPOSE_B", flag(planned.matmul.transpose_b)),
            ("F16_INPUTS", flag(planned.f16_inputs)),
            ("ROUNDED", flag(planned.f16_inputs && are_rounded_as_read(a, b))),
        ];
        constants.extend(planned.finish.constants());
        constants
    }

    fn dispatch(&self, rec: &mut Recorder, a: &Operand, b: &Operand, c: &Operand) -> Result<()> {
        let Self { batch, m, n, k, bias, rng, lengths, ref other, missing_k, .. } = *self;
        // What is not there, or is there as C, is not read as a binding.
        let nothing = b.unread();
        let other = other.as_ref().filter(|other| !other.is_same_memory(c)).unwrap_or(&nothing);
        let [bias, rng, lengths] = [bias, rng, lengths].map(|operand| operand.unwrap_or(&nothing));
        let bindings = [a, b, bias, rng, lengths, other, c];
        let work = Work::Tiles { batch, m, n };
        rec.dispatch(matmul::VARIANTS, &self.constants(a, b), &self.params(c), &bindings, work)?;
        rec.flops(2 * (m * n) as u64 * (batch * k - missing_k) as u64);
        Ok(())
    }
}

/// Whether the kernel rounds factors of f16 matmuls: those in f16 are rounded.
pub(super) fn are_rounded_as_read(a: &Operand, b: &Operand) -> bool {
    [a, b].iter().any(|factor| factor.spec.dtype != DType::F16)
}

/// C = the sum of the `parts` that `partial` holds, in their order.
fn sum_parts(rec: &mut Recorder, partial: &Operand, c: &Operand, parts: usize) -> Result<()> {
    let (inner, chunk) = (c.elements(), parts as u32);
    let params = sum::Params { outer: 1, reduce: chunk, inner: inner as u32, chunk, chunks: 1 };
    rec.dispatch(sum::VARIANTS, &[], &params, &[partial, c], inner)
}
