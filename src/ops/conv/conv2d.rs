//! The front-end's convolution: 3×3, stride 2×2, reflect padding 1.

use std::ops::Range;

use ndarray::IxDyn;

use super::conv2d_backward::{Conv2dBackward, Conv2dBackwardWeight};
use crate::error::Result;
use crate::exec::{Operand, Recorder};
use crate::graph::Tensor;
use crate::ops::{Array, Op, Vjp, expect, mismatch};
use crate::shader::conv::{conv2d, conv2d_mono, pack};
use crate::shape::{DType, Spec};

/// Convolution 3×3 with stride 2×2, reflect padding 1 on both axes, and bias:
///
/// y[b, t, f, o] = bias`[o]` + Σ_{i, j < 3, c} weight[o, c, i, j] · x[b, r(2t + i − 1), r(2f + j − 1), c],
///
/// where r mirrors −1 to 1 and n to n − 2. x [batch, time, frequency, cin] with at least 2 frames and 2
/// frequencies, weight [cout, cin, 3, 3], bias `[cout]` → y [batch, ⌈time/2⌉, ⌈frequency/2⌉, cout].
///
/// dx, dweight and dbias are the sums of the products with dy over the same index pairs.
#[derive(Debug, Clone, Copy)]
pub struct Conv2d;

/// Channels and positions of the register tile.
pub(super) const BLOCK: usize = 8;

/// The position behind `2·out + tap − 1` of an axis of `size` elements, padded by its mirror image.
pub(super) fn source(out: usize, tap: usize, size: usize) -> usize {
    match 2 * out + tap {
        0 => 1,
        i if i > size => 2 * size - 1 - i,
        i => i - 1,
    }
}

/// Sizes of the convolution.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    pub batch: usize,
    pub time: usize,
    pub frequency: usize,
    pub cin: usize,
    pub cout: usize,
    pub out_time: usize,
    pub out_frequency: usize,
}

impl Sizes {
    /// From the shapes of x and y.
    pub fn new(x: &[usize], y: &[usize]) -> Self {
        Self {
            batch: x[0],
            time: x[1],
            frequency: x[2],
            cin: x[3],
            cout: y[3],
            out_time: y[1],
            out_frequency: y[2],
        }
    }

    /// Rounds the channels up to what the kernels take: y's to blocks, x's to four unless there is but one.
    pub fn pad(&mut self) {
        self.cout = self.cout.next_multiple_of(BLOCK);
        if self.cin > 1 {
            self.cin = self.cin.next_multiple_of(4);
        }
    }

    /// Operations of the products behind one frame of y: 9 taps of all channels, two operations each.
    pub fn operations(&self) -> u64 {
        18 * (self.out_frequency * self.cout) as u64 * self.cin as u64
    }

    /// Elements of one frame of x and of y.
    pub fn widths(&self) -> [usize; 2] {
        [self.frequency * self.cin, self.out_frequency * self.cout]
    }

    /// The frames of x, over all utterances, that the frames `rows` of y see; starts are aligned.
    pub fn seen(&self, rows: &Range<usize>, rec: &Recorder) -> Range<usize> {
        let at = |row: usize| (row / self.out_time * self.time, row % self.out_time * 2);
        let (Some(last), false) = (rows.end.checked_sub(1), self.whole(rec)) else {
            return 0..self.batch * self.time;
        };
        let ((first_base, first), (last_base, last)) = (at(rows.start), at(last));
        let end = last_base + (last + 2).min(self.time);
        align(first_base + first.saturating_sub(1), rec)..end
    }

    /// The frames of y, over all utterances, that see the frames `rows` of x; starts are aligned.
    pub fn seeing(&self, rows: &Range<usize>, rec: &Recorder) -> Range<usize> {
        let at = |row: usize| (row / self.time * self.out_time, row % self.time / 2);
        let (Some(last), false) = (rows.end.checked_sub(1), self.whole(rec)) else {
            return 0..self.batch * self.out_time;
        };
        let ((first_base, first), (last_base, last)) = (at(rows.start), at(last));
        let end = last_base + (last + 2).min(self.out_time);
        align(first_base + first, rec)..end
    }

    /// Whether x and y can each be bound as a whole.
    fn whole(&self, rec: &Recorder) -> bool {
        let [x, y] = self.widths();
        let largest = (self.batch * self.time * x).max(self.batch * self.out_time * y);
        largest as u64 * 4 <= rec.capabilities().max_binding
    }

    /// Ranges of the frames of y such that they and the frames of x that they see can be bound.
    pub fn out_tiles(&self, rec: &Recorder) -> Result<Vec<Range<usize>>> {
        let (rows, [x, y]) = (self.batch * self.out_time, self.widths());
        // Two frames of x for one of y; the halo and the aligned start may double that.
        if self.whole(rec) { Ok(std::iter::once(0..rows).collect()) } else { rec.tiles(rows, &[4 * x, y]) }
    }

    /// Ranges of the frames of x such that they and the frames of y that see them can be bound.
    pub fn in_tiles(&self, rec: &Recorder) -> Result<Vec<Range<usize>>> {
        let (rows, [x, y]) = (self.batch * self.time, self.widths());
        if self.whole(rec) { Ok(std::iter::once(0..rows).collect()) } else { rec.tiles(rows, &[x, 2 * y]) }
    }
}

/// The largest row up to `row` that starts at an aligned byte whatever the width.
fn align(row: usize, rec: &Recorder) -> usize {
    row / rec.alignment() * rec.alignment()
}

/// Records y[p, r, c] = x[p + r·strides\[0\] + c·strides\[1\]] for r < rows and c < columns, else 0.
pub(super) fn pack(
    rec: &mut Recorder,
    x: &Operand,
    y: &Operand,
    [rows, columns]: [usize; 2],
    strides: [usize; 2],
) -> Result<()> {
    let params = pack::Params {
        planes: y.dims()[0] as u32,
        rows: rows as u32,
        columns: columns as u32,
        y_rows: y.dims()[1] as u32,
        y_columns: y.dims()[2] as u32,
        row_stride: strides[0] as u32,
        column_stride: strides[1] as u32,
    };
    rec.dispatch(pack::VARIANTS, &[], &params, &[x, y], y.elements())
}

/// The weight [cout, cin, 3, 3] as [9, rows, columns] padded with zeros to these sizes, where the rows are the
/// input channels, or the output channels if `transposed`.
pub(super) fn packed_weight(
    rec: &mut Recorder,
    weight: &Operand,
    [rows, columns]: [usize; 2],
    transposed: bool,
) -> Result<Operand> {
    let (cout, cin) = (weight.dims()[0], weight.dims()[1]);
    let y = rec.scratch(DType::F32, [9, rows, columns]);
    match transposed {
        false => pack(rec, weight, &y, [cin, cout], [9, 9 * cin])?,
        true => pack(rec, weight, &y, [cout, cin], [9 * cin, 9])?,
    }
    Ok(y)
}

/// `x` with its last axis padded with zeros to `channels`.
pub(super) fn padded(rec: &mut Recorder, x: &Operand, channels: usize) -> Result<Operand> {
    let own = x.shape().last();
    if own == channels {
        return Ok(x.clone());
    }
    let y = rec.scratch(DType::F32, [1, x.elements() / own, channels]);
    pack(rec, x, &y, [x.elements() / own, own], [own, 1])?;
    Ok(y)
}

/// Where a kernel writes the frames `tile` of `y`, each of `positions`, with the last axis padded to `channels`;
/// [`crop`] brings it to `y`.
pub(super) fn staged(
    rec: &mut Recorder,
    y: &Operand,
    tile: &Range<usize>,
    [positions, channels]: [usize; 2],
) -> Operand {
    match y.shape().last() == channels {
        true => y.rows(tile, positions * channels),
        false => rec.scratch(DType::F32, [tile.len() * positions, channels]),
    }
}

/// Copies what [`staged`] gave to the frames `tile` of `y`.
pub(super) fn crop(
    rec: &mut Recorder,
    staged: &Operand,
    y: &Operand,
    tile: &Range<usize>,
    positions: usize,
) -> Result<()> {
    if staged.memory == y.memory {
        return Ok(());
    }
    let (rows, columns) = (tile.len() * positions, y.shape().last());
    let flat = Operand { spec: Spec::f32([1, rows, columns]), ..y.rows(tile, positions * columns) };
    pack(rec, staged, &flat, [rows, columns], [staged.shape().last(), 1])
}

impl Op for Conv2d {
    fn name(&self) -> &'static str {
        "conv2d"
    }

    fn infer(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        expect(self.name(), inputs, &[DType::F32; 3])?;
        let [x, weight, bias] = [0, 1, 2].map(|i: usize| inputs[i].shape.dims());
        match (x, weight, bias) {
            (&[batch, time, frequency, cin], &[cout, channels, 3, 3], &[biases])
                if time > 1 && frequency > 1 && cin > 0 && cout > 0 && channels == cin && biases == cout =>
            {
                Ok(vec![Spec::f32([batch, time.div_ceil(2), frequency.div_ceil(2), cout])])
            }
            _ => Err(mismatch(
                self.name(),
                inputs,
                "x [batch, time ≥ 2, frequency ≥ 2, cin], weight [cout, cin, 3, 3], bias [cout]",
            )),
        }
    }

    fn record(&self, rec: &mut Recorder, inputs: &[Operand], outputs: &[Operand]) -> Result<()> {
        let mut sizes = Sizes::new(inputs[0].dims(), outputs[0].dims());
        let operations = sizes.operations();
        sizes.pad();
        let weight = packed_weight(rec, &inputs[1], [sizes.cin, sizes.cout], false)?;
        let bias = padded(rec, &inputs[2], sizes.cout)?;
        let x = padded(rec, &inputs[0], sizes.cin)?;
        let [x_width, _] = sizes.widths();
        for tile in sizes.out_tiles(rec)? {
            let seen = sizes.seen(&tile, rec);
            let x = x.rows(&seen, x_width);
            let y = staged(rec, &outputs[0], &tile, [sizes.out_frequency, sizes.cout]);
            let bindings = [&x, &weight, &bias, &y];
            let blocks = sizes.cout / BLOCK;
            if sizes.cin == 1 {
                let params = conv2d_mono::Params {
                    rows: tile.len() as u32,
                    first_row: tile.start as u32,
                    first_source: seen.start as u32,
                    time: sizes.time as u32,
                    frequency: sizes.frequency as u32,
                    out_time: sizes.out_time as u32,
                    out_frequency: sizes.out_frequency as u32,
                    padded: sizes.cout as u32,
                };
                rec.dispatch(conv2d_mono::VARIANTS, &[], &params, &bindings, tile.len() * blocks)?;
            } else {
                let params = conv2d::Params {
                    rows: tile.len() as u32,
                    first_row: tile.start as u32,
                    first_source: seen.start as u32,
                    time: sizes.time as u32,
                    frequency: sizes.frequency as u32,
                    cin: sizes.cin as u32,
                    out_time: sizes.out_time as u32,
                    out_frequency: sizes.out_frequency as u32,
                    padded: sizes.cout as u32,
                };
                let positions = tile.len() * sizes.out_frequency;
                rec.dispatch(conv2d::VARIANTS, &[], &params, &bindings, positions.div_ceil(BLOCK) * blocks)?;
            }
            rec.flops(tile.len() as u64 * operations);
            crop(rec, &y, &outputs[0], &tile, sizes.out_frequency)?;
        }
        Ok(())
    }

    fn reference(&self, inputs: &[&Array]) -> Vec<Array> {
        let (x, weight, bias) = (inputs[0], inputs[1], inputs[2]);
        let (time, frequency, cin) = (x.shape()[1], x.shape()[2], x.shape()[3]);
        let dims = [x.shape()[0], time.div_ceil(2), frequency.div_ceil(2), bias.len()];
        let y = Array::from_shape_fn(IxDyn(&dims), |at| {
            let mut sum = bias[[at[3]]];
            for i in 0..3 {
                for j in 0..3 {
                    for c in 0..cin {
                        let (t, f) = (source(at[1], i, time), source(at[2], j, frequency));
                        sum += weight[[at[3], c, i, j]] * x[[at[0], t, f, c]];
                    }
                }
            }
            sum
        });
        vec![y]
    }

    fn vjp(&self, ctx: &Vjp) -> Result<Vec<Option<Tensor>>> {
        let (x, weight, dy) = (&ctx.inputs[0], &ctx.inputs[1], ctx.dy()?);
        let dx = match ctx.needed[0] {
            true => {
                let (time, frequency) = (x.dims()[1], x.dims()[2]);
                Some(dy.apply(Conv2dBackward { time, frequency }, &[weight])?)
            }
            false => None,
        };
        let mut sums = match ctx.needed[1] || ctx.needed[2] {
            true => x.graph().apply(std::sync::Arc::new(Conv2dBackwardWeight), &[x, dy])?.into_iter(),
            false => Vec::new().into_iter(),
        };
        Ok(vec![dx, sums.next(), sums.next()])
    }
}

impl Tensor {
    /// Convolution 3×3 with stride 2×2 and reflect padding 1; see [`Conv2d`].
    ///
    /// # Errors
    /// When the shapes do not fit.
    pub fn conv2d(&self, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
        self.apply(Conv2d, &[weight, bias])
    }
}

#[cfg(test)]
mod tests {
    use super::source;

    #[test]
    fn the_mirror() {
        let axis = |size: usize| -> Vec<[usize; 3]> {
            (0..size.div_ceil(2)).map(|out| [0, 1, 2].map(|tap| source(out, tap, size))).collect()
        };
        assert_eq!(axis(2), [[1, 0, 1]]);
        assert_eq!(axis(3), [[1, 0, 1], [1, 2, 1]]);
        assert_eq!(axis(4), [[1, 0, 1], [1, 2, 3]]);
        assert_eq!(axis(5), [[1, 0, 1], [1, 2, 3], [3, 4, 3]]);
    }
}
