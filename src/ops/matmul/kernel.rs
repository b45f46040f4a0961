//! The dispatches of a matmul.

use std::ops::Range;

use super::PlannedMatMul;
use super::product::Sizes;
use crate::error::Result;
use crate::exec::{Operand, Recorder, Work};
use crate::gpu::Tier;
use crate::shader::matmul::matmul;
use crate::shader::reduce::sum;
use crate::shape::DType;

/// A product of which rows of A and C, or of the inner dimension, may be a part.
struct Product<'a> {
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
    /// The number of C's first element in the whole product.
    first: usize,
}

pub(super) fn record(
    rec: &mut Recorder,
    planned: &PlannedMatMul,
    Sizes { batch, m, n, k }: Sizes,
    inputs: &[Operand],
    c: &Operand,
) -> Result<()> {
    let (op, a, b) = (&planned.product, &inputs[0], &inputs[1]);
    let shared_b = b.shape().rank() == 2;
    let parts = planned.parts(inputs);
    let (bias, rng, addend) = (parts.product.get(2), parts.rng, parts.addend.cloned());
    let product = Product { planned, batch, m, n, k, shared_b, bias, rng, addend, first: 0 };
    if batch == 1 && !op.transpose_a {
        for rows in rec.tiles(m, &[k, n])? {
            let addend = parts.addend.map(|addend| addend.rows(&rows, n));
            let part = Product { m: rows.len(), addend, first: rows.start * n, ..product };
            part.dispatch(rec, &a.rows(&rows, k), b, &c.rows(&rows, n))?;
        }
        return Ok(());
    }
    // Parts of a sum are what they are: neither is the bias of one of them, nor is what follows the product theirs.
    if batch == 1 && !op.transpose_b && bias.is_none() && planned.is_plain() {
        let parts = split(rec, m, n, k)?;
        if parts.len() > 1 {
            return product.split(rec, a, b, c, &parts);
        }
    }
    product.dispatch(rec, a, b, c)
}

/// Parts of a long inner dimension: as many as the binding limit asks for, or as keep a GPU busy whose
/// output tiles alone do not.
fn split(rec: &Recorder, m: usize, n: usize, k: usize) -> Result<Vec<Range<usize>>> {
    let parts = rec.tiles(k, &[m, n])?;
    let tiles = m.div_ceil(64) * n.div_ceil(64);
    let wanted = (128 / tiles.max(1)).min(k / 256);
    if parts.len() > 1 || !(m * n).is_multiple_of(64) || rec.capabilities().tier == Tier::Cpu || wanted < 2 {
        return Ok(parts);
    }
    // 64 rows of any width make an aligned start.
    let length = k.div_ceil(wanted).next_multiple_of(64);
    Ok((0..k).step_by(length).map(|start| start..k.min(start + length)).collect())
}

impl Product<'_> {
    /// C = Σ over parts of the inner dimension, in order.
    fn split(
        &self,
        rec: &mut Recorder,
        a: &Operand,
        b: &Operand,
        c: &Operand,
        parts: &[Range<usize>],
    ) -> Result<()> {
        let size = self.m * self.n;
        let partial = rec.scratch(DType::F32, [parts.len(), size]);
        for (index, part) in (0..).zip(parts) {
            let product = Product { k: part.len(), addend: None, ..*self };
            let c = partial.rows(&(index..index + 1), size);
            product.dispatch(rec, &a.rows(part, self.m), &b.rows(part, self.n), &c)?;
        }
        let chunk = parts.len() as u32;
        let params = sum::Params { outer: 1, reduce: chunk, inner: size as u32, chunk, chunks: 1 };
        rec.dispatch(sum::VARIANTS, &[], &params, &[&partial, c], size)
    }

    fn dispatch(&self, rec: &mut Recorder, a: &Operand, b: &Operand, c: &Operand) -> Result<()> {
        let Self { planned, batch, m, n, k, shared_b, bias, rng, ref addend, first } = *self;
        let (op, dropout) = (planned.product, planned.dropout);
        let params = matmul::Params {
            m: m as u32,
            n: n as u32,
            k: k as u32,
            batch: batch as u32,
            batch_stride_a: (m * k) as u32,
            batch_stride_b: if shared_b { 0 } else { (k * n) as u32 },
            batch_stride_c: (m * n) as u32,
            alpha: op.alpha,
            scale: planned.scale * dropout.map_or(1.0, |dropout| dropout.scale()),
            threshold: dropout.map_or(0, |dropout| dropout.threshold()),
            stream: dropout.map_or(0, |dropout| dropout.stream),
            first: ((dropout.map_or(0, |dropout| dropout.first) + first) / 4) as u32,
        };
        // What is not there, or is there as C, is not read as a binding; the codes are those of `matmul/epilogue`.
        let (addend, addend_code) = match addend {
            None => (b, 0.0),
            Some(addend) if addend.is_same_memory(c) => (b, 2.0),
            Some(addend) => (addend, 1.0),
        };
        let constants = [
            ("TRANSPOSE_A", f64::from(u8::from(op.transpose_a))),
            ("TRANSPOSE_B", f64::from(u8::from(op.transpose_b))),
            ("HAS_BIAS", f64::from(u8::from(bias.is_some()))),
            ("F16_INPUTS", f64::from(u8::from(planned.f16_inputs))),
            ("ACTIVATION", planned.activation.map_or(0.0, |kind| kind.code() + 1.0)),
            ("DROPOUT", f64::from(u8::from(dropout.is_some()))),
            ("ADDEND", addend_code),
        ];
        let bindings = [a, b, bias.unwrap_or(b), rng.unwrap_or(b), addend, c];
        rec.dispatch(matmul::VARIANTS, &constants, &params, &bindings, Work::Tiles { batch, m, n })?;
        rec.products(2 * (batch * m * n) as u64 * k as u64);
        Ok(())
    }
}
