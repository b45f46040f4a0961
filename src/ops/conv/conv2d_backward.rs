//! Gradients of the front-end's convolution.

use ndarray::IxDyn;

use super::conv2d::{BLOCK, Sizes, crop, packed_weight, padded, source, staged};
use crate::error::Result;
use crate::exec::{Operand, Recorder};
use crate::ops::{Array, Op, expect, mismatch};
use crate::shader::conv::{conv2d_backward, conv2d_backward_weight, conv2d_mono_backward_weight, weight_sum};
use crate::shape::{DType, Spec};

/// dx of [`super::Conv2d`] from dy [batch, ⌈time/2⌉, ⌈frequency/2⌉, cout] and the weight.
#[derive(Debug, Clone, Copy)]
pub(super) struct Conv2dBackward {
    /// Frames of x.
    pub time: usize,
    /// Frequencies of x.
    pub frequency: usize,
}

impl Op for Conv2dBackward {
    fn name(&self) -> &'static str {
        "conv2d_backward"
    }

    fn infer(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        expect(self.name(), inputs, &[DType::F32; 2])?;
        match (inputs[0].shape.dims(), inputs[1].shape.dims()) {
            (&[batch, time, frequency, channels], &[cout, cin, 3, 3])
                if channels == cout
                    && time == self.time.div_ceil(2)
                    && frequency == self.frequency.div_ceil(2) =>
            {
                Ok(vec![Spec::f32([batch, self.time, self.frequency, cin])])
            }
            _ => Err(mismatch(
                self.name(),
                inputs,
                "dy [batch, time, frequency, cout], weight [cout, cin, 3, 3]",
            )),
        }
    }

    fn record(&self, rec: &mut Recorder, inputs: &[Operand], outputs: &[Operand]) -> Result<()> {
        let mut sizes = Sizes::new(outputs[0].dims(), inputs[0].dims());
        // The taps of dx are those of y; every frame of x has the same share of them.
        let operations = sizes.operations() * (sizes.batch * sizes.out_time) as u64;
        sizes.cin = sizes.cin.next_multiple_of(BLOCK);
        sizes.cout = sizes.cout.next_multiple_of(4);
        let weight = packed_weight(rec, &inputs[1], [sizes.cout, sizes.cin], true)?;
        let dy = padded(rec, &inputs[0], sizes.cout)?;
        let [_, y_width] = sizes.widths();
        for tile in sizes.in_tiles(rec)? {
            let seeing = sizes.seeing(&tile, rec);
            let params = conv2d_backward::Params {
                rows: tile.len() as u32,
                first_row: tile.start as u32,
                first_source: seeing.start as u32,
                time: sizes.time as u32,
                frequency: sizes.frequency as u32,
                out_time: sizes.out_time as u32,
                out_frequency: sizes.out_frequency as u32,
                cout: sizes.cout as u32,
                padded: sizes.cin as u32,
            };
            let tiles = 2 * tile.len() * sizes.out_frequency.div_ceil(BLOCK);
            let dy = dy.rows(&seeing, y_width);
            let dx = staged(rec, &outputs[0], &tile, [sizes.frequency, sizes.cin]);
            rec.dispatch(
                conv2d_backward::VARIANTS,
                &[],
                &params,
                &[&dy, &weight, &dx],
                tiles * sizes.cin / BLOCK,
            )?;
            rec.share_of_flops(operations, &tile, sizes.batch * sizes.time);
            crop(rec, &dx, &outputs[0], &tile, sizes.frequency)?;
        }
        Ok(())
    }

    fn reference(&self, inputs: &[&Array]) -> Vec<Array> {
        let (dy, weight) = (inputs[0], inputs[1]);
        let cin = weight.shape()[1];
        let mut dx = Array::zeros(IxDyn(&[dy.shape()[0], self.time, self.frequency, cin]));
        for (at, &dy) in dy.indexed_iter() {
            for i in 0..3 {
                for j in 0..3 {
                    for c in 0..cin {
                        let (t, f) = (source(at[1], i, self.time), source(at[2], j, self.frequency));
                        dx[[at[0], t, f, c]] += weight[[at[3], c, i, j]] * dy;
                    }
                }
            }
        }
        vec![dx]
    }
}

/// dweight [cout, cin, 3, 3] and dbias [cout] of [`super::Conv2d`] from x and dy: sums over chunks of output
/// frames, then over the chunks, in an order that depends on the shapes alone.
#[derive(Debug, Clone, Copy)]
pub(super) struct Conv2dBackwardWeight;

/// Output frames that one invocation sums at least, and invocations beyond which it sums more.
const CHUNK: usize = 8;
const INVOCATIONS: usize = 16_384;

impl Op for Conv2dBackwardWeight {
    fn name(&self) -> &'static str {
        "conv2d_backward_weight"
    }

    fn infer(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        expect(self.name(), inputs, &[DType::F32; 2])?;
        match (inputs[0].shape.dims(), inputs[1].shape.dims()) {
            (&[batch, time, frequency, cin], &[batches, out_time, out_frequency, cout])
                if batch == batches
                    && time > 1
                    && frequency > 1
                    && out_time == time.div_ceil(2)
                    && out_frequency == frequency.div_ceil(2) =>
            {
                Ok(vec![Spec::f32([cout, cin, 3, 3]), Spec::f32([cout])])
            }
            _ => {
                Err(mismatch(self.name(), inputs, "x [batch, time, frequency, cin] and dy of half its axes"))
            }
        }
    }

    fn record(&self, rec: &mut Recorder, inputs: &[Operand], outputs: &[Operand]) -> Result<()> {
        let mut sizes = Sizes::new(inputs[0].dims(), inputs[1].dims());
        let operations = sizes.operations();
        sizes.pad();
        let (x, dy) = (padded(rec, &inputs[0], sizes.cin)?, padded(rec, &inputs[1], sizes.cout)?);
        let [x_width, y_width] = sizes.widths();
        let tiles = sizes.out_tiles(rec)?;
        // One invocation takes all taps of the only channel, or a row of taps of four.
        let lanes = sizes.cout / BLOCK * if sizes.cin == 1 { 1 } else { 3 * sizes.cin / 4 };
        let chunk = CHUNK.max((sizes.batch * sizes.out_time * lanes).div_ceil(INVOCATIONS));
        let chunks = tiles.iter().map(|tile| tile.len().div_ceil(chunk)).sum::<usize>();
        let partial = rec.scratch(DType::F32, [chunks.max(1), 9 * sizes.cin + 1, sizes.cout]);
        let mut first_chunk = 0;
        for tile in tiles {
            let seen = sizes.seen(&tile, rec);
            let own = tile.len().div_ceil(chunk);
            let (x, dy) = (x.rows(&seen, x_width), dy.rows(&tile, y_width));
            let bindings = [&x, &dy, &partial];
            if sizes.cin == 1 {
                let params = conv2d_mono_backward_weight::Params {
                    rows: tile.len() as u32,
                    first_row: tile.start as u32,
                    first_source: seen.start as u32,
                    time: sizes.time as u32,
                    frequency: sizes.frequency as u32,
                    out_time: sizes.out_time as u32,
                    out_frequency: sizes.out_frequency as u32,
                    padded: sizes.cout as u32,
                    chunk: chunk as u32,
                    chunks: own as u32,
                    first_chunk: first_chunk as u32,
                };
                rec.dispatch(conv2d_mono_backward_weight::VARIANTS, &[], &params, &bindings, own * lanes)?;
            } else {
                let params = conv2d_backward_weight::Params {
                    rows: tile.len() as u32,
                    first_row: tile.start as u32,
                    first_source: seen.start as u32,
                    time: sizes.time as u32,
                    frequency: sizes.frequency as u32,
                    cin: sizes.cin as u32,
                    out_time: sizes.out_time as u32,
                    out_frequency: sizes.out_frequency as u32,
                    padded: sizes.cout as u32,
                    chunk: chunk as u32,
                    chunks: own as u32,
                    first_chunk: first_chunk as u32,
                };
                rec.dispatch(conv2d_backward_weight::VARIANTS, &[], &params, &bindings, own * lanes)?;
            }
            rec.flops(tile.len() as u64 * operations);
            first_chunk += own;
        }
        sum_chunks(rec, &partial, chunks, outputs)
    }

    fn reference(&self, inputs: &[&Array]) -> Vec<Array> {
        let (x, dy) = (inputs[0], inputs[1]);
        let (time, frequency, cin) = (x.shape()[1], x.shape()[2], x.shape()[3]);
        let cout = dy.shape()[3];
        let mut dweight = Array::zeros(IxDyn(&[cout, cin, 3, 3]));
        let mut dbias = Array::zeros(IxDyn(&[cout]));
        for (at, &dy) in dy.indexed_iter() {
            dbias[[at[3]]] += dy;
            for i in 0..3 {
                for j in 0..3 {
                    for c in 0..cin {
                        let (t, f) = (source(at[1], i, time), source(at[2], j, frequency));
                        dweight[[at[3], c, i, j]] += x[[at[0], t, f, c]] * dy;
                    }
                }
            }
        }
        vec![dweight, dbias]
    }
}

/// Sums `partial` [chunks, rows and more, padded] over its chunks to dweight [columns, rows] and, from its last
/// row, dbias [columns].
pub(in crate::ops) fn sum_chunks(
    rec: &mut Recorder,
    partial: &Operand,
    chunks: usize,
    outputs: &[Operand],
) -> Result<()> {
    let (dweight, dbias) = (&outputs[0], &outputs[1]);
    let params = weight_sum::Params {
        chunks: chunks as u32,
        rows: (dweight.elements() / dbias.elements().max(1)) as u32,
        columns: dbias.elements() as u32,
        partial_rows: partial.dims()[1] as u32,
        padded: partial.shape().last() as u32,
    };
    rec.dispatch(
        weight_sum::VARIANTS,
        &[],
        &params,
        &[partial, dweight, dbias],
        (params.rows + 1) as usize * partial.shape().last(),
    )
}
