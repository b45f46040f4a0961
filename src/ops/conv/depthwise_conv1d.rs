//! Depthwise convolution over time: centered, causal or looking ahead.

use std::sync::Arc;

use ndarray::IxDyn;

use super::conv2d::pack;
use super::conv2d_backward::sum_chunks;
use crate::error::Result;
use crate::exec::{Operand, Recorder};
use crate::graph::Tensor;
use crate::ops::{Array, Op, Vjp, expect, mismatch};
use crate::shader::conv::{
    depthwise_conv1d, depthwise_conv1d_backward, depthwise_conv1d_backward_weight, depthwise_conv1d_vec4,
};
use crate::shape::{DType, Spec};

/// Depthwise convolution over time with bias, as many frames out as in:
///
/// y[b, t, c] = bias`[c]` + Σ_k weight[c, 0, k] · x̃[b, t + k − left, c],
///
/// where x̃ is x at frames in 0..lengths\[b\] and 0 elsewhere; lengths of `time` leave x as it is.
/// x [batch, time, channels], weight [channels, 1, kernel], bias `[channels]`, lengths u32 `[batch]` → y as x.
///
/// Derivatives, with dy as it is at all frames:
/// dx[b, s, c] = Σ_k weight[c, 0, k] · dy[b, s − k + left, c] for s < lengths\[b\], else 0;
/// dweight[c, 0, k] = Σ_{b, t} dy[b, t, c] · x̃[b, t + k − left, c]; dbias`[c]` = Σ_{b, t} dy[b, t, c].
#[derive(Debug, Clone, Copy)]
pub struct DepthwiseConv1d {
    /// Taps before the frame itself, fewer than there are: (kernel − 1)/2 is centered, kernel − 1 causal, and 0
    /// its mirror image, which sees the frame and those after it.
    pub left: usize,
}

/// Frames of the register tile, and taps of the weight gradient's: of one channel, and of four at a time.
const BLOCK: usize = 8;
const BLOCK_OF_FOUR: usize = 16;
/// Frames that one invocation of the weight gradient sums.
const CHUNK: usize = 64;

/// Records the convolution of x, or its gradient if `backward`, for channels that four divides; `bias` is not read
/// then.
fn record_four(
    rec: &mut Recorder,
    [x, weight, bias, lengths, y]: [&Operand; 5],
    left: usize,
    backward: bool,
) -> Result<()> {
    let &[batch, time, channels] = x.dims() else {
        return Err(mismatch("depthwise_conv1d", std::slice::from_ref(&x.spec), "x [batch, time, channels]"));
    };
    let kernel = weight.dims()[2];
    let packed = rec.scratch(DType::F32, [1, kernel, channels]);
    pack(rec, weight, &packed, [kernel, channels], [1, kernel])?;
    let params = depthwise_conv1d_vec4::Params {
        batch: batch as u32,
        time: time as u32,
        channels: channels as u32,
        kernel: kernel as u32,
        // The gradient's taps are the convolution's in reverse.
        left: if backward { kernel - 1 - left } else { left } as u32,
        backward: u32::from(backward),
    };
    let bindings = [x, &packed, bias, lengths, y];
    rec.dispatch(
        depthwise_conv1d_vec4::VARIANTS,
        &[],
        &params,
        &bindings,
        batch * time.div_ceil(BLOCK_OF_FOUR) * channels / 4,
    )
}

/// The frame behind tap `k` of frame `t`, where it is one of the first `length`.
fn frame(t: usize, k: usize, left: usize, length: usize) -> Option<usize> {
    (t + k).checked_sub(left).filter(|&s| s < length)
}

fn length(lengths: &Array, utterance: usize, time: usize) -> usize {
    (lengths[[utterance]] as usize).min(time)
}

impl Op for DepthwiseConv1d {
    fn name(&self) -> &'static str {
        "depthwise_conv1d"
    }

    fn infer(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        expect(self.name(), inputs, &[DType::F32, DType::F32, DType::F32, DType::U32])?;
        let [x, weight, bias, lengths] = [0, 1, 2, 3].map(|i: usize| inputs[i].shape.dims());
        match (x, weight, bias, lengths) {
            (&[batch, _, channels], &[rows, 1, kernel], &[biases], &[utterances])
                if rows == channels && biases == channels && utterances == batch && self.left < kernel =>
            {
                Ok(vec![inputs[0].clone()])
            }
            _ => {
                let wanted = format!(
                    "x [batch, time, channels], weight [channels, 1, kernel above {}], bias [channels], lengths \
                     [batch]",
                    self.left
                );
                Err(mismatch(self.name(), inputs, &wanted))
            }
        }
    }

    fn record(&self, rec: &mut Recorder, inputs: &[Operand], outputs: &[Operand]) -> Result<()> {
        let (x, kernel) = (inputs[0].dims(), inputs[1].dims()[2]);
        if x[2].is_multiple_of(4) {
            let operands = [&inputs[0], &inputs[1], &inputs[2], &inputs[3], &outputs[0]];
            record_four(rec, operands, self.left, false)?;
            rec.flops(2 * (inputs[0].elements() * kernel) as u64);
            return Ok(());
        }
        let params = depthwise_conv1d::Params {
            batch: x[0] as u32,
            time: x[1] as u32,
            channels: x[2] as u32,
            kernel: kernel as u32,
            left: self.left as u32,
        };
        let bindings = [&inputs[0], &inputs[1], &inputs[2], &inputs[3], &outputs[0]];
        rec.dispatch(
            depthwise_conv1d::VARIANTS,
            &[],
            &params,
            &bindings,
            x[0] * x[1].div_ceil(BLOCK) * x[2],
        )?;
        rec.flops(2 * (inputs[0].elements() * kernel) as u64);
        Ok(())
    }

    fn reference(&self, inputs: &[&Array]) -> Vec<Array> {
        let (x, weight, bias, lengths) = (inputs[0], inputs[1], inputs[2], inputs[3]);
        let (time, kernel) = (x.shape()[1], weight.shape()[2]);
        let y = Array::from_shape_fn(x.raw_dim(), |at| {
            let length = length(lengths, at[0], time);
            let taps = (0..kernel).filter_map(|k| Some((k, frame(at[1], k, self.left, length)?)));
            bias[[at[2]]] + taps.map(|(k, s)| weight[[at[2], 0, k]] * x[[at[0], s, at[2]]]).sum::<f64>()
        });
        vec![y]
    }

    fn vjp(&self, ctx: &Vjp) -> Result<Vec<Option<Tensor>>> {
        let (x, weight, lengths, dy) = (&ctx.inputs[0], &ctx.inputs[1], &ctx.inputs[3], ctx.dy()?);
        let dx = match ctx.needed[0] {
            true => Some(dy.apply(DepthwiseConv1dBackward(*self), &[weight, lengths])?),
            false => None,
        };
        let op = DepthwiseConv1dBackwardWeight { forward: *self, kernel: weight.dims()[2] };
        let mut sums = match ctx.needed[1] || ctx.needed[2] {
            true => x.graph().apply(Arc::new(op), &[x, dy, lengths])?.into_iter(),
            false => Vec::new().into_iter(),
        };
        Ok(vec![dx, sums.next(), sums.next(), None])
    }
}

/// dx of [`DepthwiseConv1d`] from dy, weight and lengths.
#[derive(Debug, Clone, Copy)]
struct DepthwiseConv1dBackward(DepthwiseConv1d);

impl Op for DepthwiseConv1dBackward {
    fn name(&self) -> &'static str {
        "depthwise_conv1d_backward"
    }

    fn infer(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        expect(self.name(), inputs, &[DType::F32, DType::F32, DType::U32])?;
        Ok(vec![inputs[0].clone()])
    }

    fn record(&self, rec: &mut Recorder, inputs: &[Operand], outputs: &[Operand]) -> Result<()> {
        let (dy, kernel) = (inputs[0].dims(), inputs[1].dims()[2]);
        if dy[2].is_multiple_of(4) {
            let operands = [&inputs[0], &inputs[1], &inputs[1], &inputs[2], &outputs[0]];
            record_four(rec, operands, self.0.left, true)?;
            rec.flops(2 * (inputs[0].elements() * kernel) as u64);
            return Ok(());
        }
        let params = depthwise_conv1d_backward::Params {
            batch: dy[0] as u32,
            time: dy[1] as u32,
            channels: dy[2] as u32,
            kernel: kernel as u32,
            left: self.0.left as u32,
        };
        let bindings = [&inputs[0], &inputs[1], &inputs[2], &outputs[0]];
        rec.dispatch(
            depthwise_conv1d_backward::VARIANTS,
            &[],
            &params,
            &bindings,
            dy[0] * dy[1].div_ceil(BLOCK) * dy[2],
        )?;
        rec.flops(2 * (inputs[0].elements() * kernel) as u64);
        Ok(())
    }

    fn reference(&self, inputs: &[&Array]) -> Vec<Array> {
        let (dy, weight, lengths) = (inputs[0], inputs[1], inputs[2]);
        let (time, kernel) = (dy.shape()[1], weight.shape()[2]);
        let mut dx = Array::zeros(dy.raw_dim());
        for (at, &dy) in dy.indexed_iter() {
            for k in 0..kernel {
                if let Some(s) = frame(at[1], k, self.0.left, length(lengths, at[0], time)) {
                    dx[[at[0], s, at[2]]] += weight[[at[2], 0, k]] * dy;
                }
            }
        }
        vec![dx]
    }
}

/// dweight and dbias of [`DepthwiseConv1d`] from x, dy and lengths: sums over chunks of frames, then over the
/// chunks, in an order that depends on the shapes alone.
#[derive(Debug, Clone, Copy)]
struct DepthwiseConv1dBackwardWeight {
    forward: DepthwiseConv1d,
    kernel: usize,
}

impl Op for DepthwiseConv1dBackwardWeight {
    fn name(&self) -> &'static str {
        "depthwise_conv1d_backward_weight"
    }

    fn infer(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        expect(self.name(), inputs, &[DType::F32, DType::F32, DType::U32])?;
        let channels = inputs[0].shape.last();
        Ok(vec![Spec::f32([channels, 1, self.kernel]), Spec::f32([channels])])
    }

    fn record(&self, rec: &mut Recorder, inputs: &[Operand], outputs: &[Operand]) -> Result<()> {
        let &[batch, time, channels] = inputs[0].dims() else {
            return Err(mismatch(self.name(), &[inputs[0].spec.clone()], "x [batch, time, channels]"));
        };
        let chunks = time.div_ceil(CHUNK);
        let partial = rec.scratch(DType::F32, [(batch * chunks).max(1), self.kernel + 1, channels]);
        let params = depthwise_conv1d_backward_weight::Params {
            batch: batch as u32,
            time: time as u32,
            channels: channels as u32,
            kernel: self.kernel as u32,
            left: self.forward.left as u32,
            chunk: CHUNK as u32,
            chunks: chunks as u32,
        };
        let units = |taps: usize| batch * chunks * self.kernel.div_ceil(taps) * channels;
        let variants = depthwise_conv1d_backward_weight::VARIANTS;
        let taps = rec.choose(variants, &[], &params, &[], 0)?.variant.tile as usize;
        let bindings = [&inputs[0], &inputs[1], &inputs[2], &partial];
        rec.dispatch(variants, &[], &params, &bindings, units(taps))?;
        rec.flops(2 * (inputs[0].elements() * self.kernel) as u64);
        sum_chunks(rec, &partial, batch * chunks, outputs)
    }

    fn reference(&self, inputs: &[&Array]) -> Vec<Array> {
        let (x, dy, lengths) = (inputs[0], inputs[1], inputs[2]);
        let (time, channels) = (x.shape()[1], x.shape()[2]);
        let mut dweight = Array::zeros(IxDyn(&[channels, 1, self.kernel]));
        let mut dbias = Array::zeros(IxDyn(&[channels]));
        for (at, &dy) in dy.indexed_iter() {
            dbias[[at[2]]] += dy;
            for k in 0..self.kernel {
                if let Some(s) = frame(at[1], k, self.forward.left, length(lengths, at[0], time)) {
                    dweight[[at[2], 0, k]] += dy * x[[at[0], s, at[2]]];
                }
            }
        }
        vec![dweight, dbias]
    }
}

impl Tensor {
    /// Depthwise convolution over the first `lengths` frames with `left` taps before each; see
    /// [`DepthwiseConv1d`].
    ///
    /// # Errors
    /// When the shapes do not fit or there are no more than `left` taps.
    pub fn depthwise_conv1d(
        &self,
        weight: &Tensor,
        bias: &Tensor,
        lengths: &Tensor,
        left: usize,
    ) -> Result<Tensor> {
        self.apply(DepthwiseConv1d { left }, &[weight, bias, lengths])
    }
}
