//! The dispatches of a matmul.

use std::ops::Range;

use super::PlannedMatMul;
use super::mat_mul::Sizes;
use crate::error::Result;
use crate::exec::{Operand, Recorder, Work};
use crate::gpu::DeviceClass;
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
    /// The part of the addend that belongs to C.
    addend: Option<Operand>,
    /// The number of C's first element in the whole matmul.
    first: usize,
    /// What the batch's last matmul lacks of k.
    missing_k: usize,
}

/// Workgroups that keep a GPU busy: a sum over k is made of so many parts that there are about as many.
const BUSY: usize = 256;

/// The least k of a part.
const LEAST_K: usize = 256;

pub(super) fn record(
    rec: &mut Recorder,
    planned: &PlannedMatMul,
    Sizes { batch, m, n, k }: Sizes,
    inputs: &[Operand],
    c: &Operand,
) -> Result<()> {
    let (op, a, b) = (&planned.matmul, &inputs[0], &inputs[1]);
    let shared_b = b.shape().rank() == 2;
    let parts = planned.parts(inputs);
    let (bias, rng, addend) = (parts.matmul.get(2), parts.rng, parts.addend.cloned());
    let matmul = Part { planned, batch, m, n, k, shared_b, bias, rng, addend, first: 0, missing_k: 0 };
    if batch == 1 && !op.transpose_a {
        for rows in rec.tiles(m, &[k, n])? {
            let addend = parts.addend.map(|addend| addend.rows(&rows, n));
            let part = Part { m: rows.len(), addend, first: rows.start * n, ..matmul };
            part.dispatch(rec, &a.rows(&rows, k), b, &c.rows(&rows, n))?;
        }
        return Ok(());
    }
    // Parts of a sum are what they are: neither is the bias of one of them, nor is what follows the matmul theirs.
    if batch == 1 && !op.transpose_b && bias.is_none() && planned.is_plain() {
        let tiles = rec.tiles(k, &[m, n])?;
        if tiles.len() > 1 {
            return matmul.tiled(rec, a, b, c, &tiles);
        }
        let parts = matmul.parts(rec)?;
        if parts > 1 {
            return matmul.split(rec, a, b, c, parts);
        }
    }
    matmul.dispatch(rec, a, b, c)
}

impl Part<'_> {
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
            let matmul = Part { k: tile.len(), addend: None, ..*self };
            let c = partial.rows(&(index..index + 1), size);
            matmul.dispatch(rec, &a.rows(tile, self.m), &b.rows(tile, self.n), &c)?;
        }
        sum_parts(rec, &partial, c, tiles.len())
    }

    /// Of how many parts a GPU makes the sum over k, so that it is busy where the tiles of C alone leave it idle: counted
    /// by the tiles of the kernel that computes them.
    fn parts(&self, rec: &Recorder) -> Result<usize> {
        let Self { m, n, k, .. } = *self;
        let largest = rec.capabilities().max_binding as usize / (4 * m * n).max(1);
        let most = (k / LEAST_K).min(largest);
        if rec.capabilities().class == DeviceClass::Cpu || most < 2 {
            return Ok(1);
        }
        let work = Work::Tiles { batch: most, m, n };
        let tile =
            rec.choose(matmul::VARIANTS, &self.constants(0.0), &self.params(), work)?.variant.tile as usize;
        let tiles = m.div_ceil(tile) * n.div_ceil(tile);
        Ok((BUSY / tiles.max(1)).clamp(1, most))
    }

    /// C = Σ over `parts` of the inner dimension, of which all but the last are as long: a batch of matmuls in one
    /// dispatch.
    fn split(&self, rec: &mut Recorder, a: &Operand, b: &Operand, c: &Operand, parts: usize) -> Result<()> {
        let k = self.k.div_ceil(parts);
        let parts = self.k.div_ceil(k);
        let partial = rec.scratch(DType::F32, [parts, self.m * self.n]);
        let missing_k = parts * k - self.k;
        let matmul = Part { batch: parts, k, missing_k, shared_b: false, addend: None, ..*self };
        matmul.dispatch(rec, a, b, &partial)?;
        sum_parts(rec, &partial, c, parts)
    }

    fn params(&self) -> matmul::Params {
        let Self { planned, batch, m, n, k, shared_b, first, missing_k, .. } = *self;
        let dropout = planned.dropout;
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
            scale: planned.scale * dropout.map_or(1.0, |dropout| dropout.scale()),
            threshold: dropout.map_or(0, |dropout| dropout.threshold()),
            stream: dropout.map_or(0, |dropout| dropout.stream),
            first: ((dropout.map_or(0, |dropout| dropout.first) + first) / 4) as u32,
        }
    }

    /// The override constants, with a code of `matmul/epilogue` for the addend.
    fn constants(&self, addend: f64) -> [(&'static str, f64); 7] {
        let (planned, flag) = (self.planned, |is_set: bool| f64::from(u8::from(is_set)));
        [
            ("TRANSPOSE_A", flag(planned.matmul.transpose_a)),
            ("TRANSPOSE_B", flag(planned.matmul.transpose_b)),
            ("HAS_BIAS", flag(self.bias.is_some())),
            ("F16_INPUTS", flag(planned.f16_inputs)),
            ("ACTIVATION", planned.activation.map_or(0.0, |kind| kind.code() + 1.0)),
            ("DROPOUT", flag(planned.dropout.is_some())),
            ("ADDEND", addend),
        ]
    }

    fn dispatch(&self, rec: &mut Recorder, a: &Operand, b: &Operand, c: &Operand) -> Result<()> {
        let Self { batch, m, n, k, bias, rng, ref addend, missing_k, .. } = *self;
        // What is not there, or is there as C, is not read as a binding; the codes are those of `matmul/epilogue`.
        let (addend, addend_code) = match addend {
            None => (b, 0.0),
            Some(addend) if addend.is_same_memory(c) => (b, 2.0),
            Some(addend) => (addend, 1.0),
        };
        let bindings = [a, b, bias.unwrap_or(b), rng.unwrap_or(b), addend, c];
        let work = Work::Tiles { batch, m, n };
        rec.dispatch(matmul::VARIANTS, &self.constants(addend_code), &self.params(), &bindings, work)?;
        rec.flops(2 * (m * n) as u64 * (batch * k - missing_k) as u64);
        Ok(())
    }
}

/// C = the sum of the `parts` that `partial` holds, in their order.
fn sum_parts(rec: &mut Recorder, partial: &Operand, c: &Operand, parts: usize) -> Result<()> {
    let (inner, chunk) = (c.elements(), parts as u32);
    let params = sum::Params { outer: 1, reduce: chunk, inner: inner as u32, chunk, chunks: 1 };
    rec.dispatch(sum::VARIANTS, &[], &params, &[partial, c], inner)
}
