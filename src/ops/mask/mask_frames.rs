//! Clears padded frames.

use std::sync::Arc;

use crate::error::Result;
use crate::exec::{Operand, Recorder};
use crate::graph::Tensor;
use crate::ops::finish::Finish;
use crate::ops::map::Chain;
use crate::ops::{Array, Epilogue, NodeOp, Op, Vjp, expect, mismatch};
use crate::shader::mask::mask_frames;
use crate::shape::{DType, Spec};

/// y[b, t, c] = x[b, t, c] for t < lengths\[b\], else 0; x [batch, time, channels], lengths u32 `[batch]`.
///
/// dx is dy, masked alike.
#[derive(Debug, Clone, Copy)]
pub struct MaskFrames;

impl Op for MaskFrames {
    fn name(&self) -> &'static str {
        "mask_frames"
    }

    fn infer(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        expect(self.name(), inputs, &[DType::F32, DType::U32])?;
        match (inputs[0].shape.dims(), inputs[1].shape.dims()) {
            (&[batch, _, _], &[utterances]) if batch == utterances => Ok(vec![inputs[0].clone()]),
            _ => Err(mismatch(self.name(), inputs, "x [batch, time, channels], lengths [batch]")),
        }
    }

    fn record(&self, rec: &mut Recorder, inputs: &[Operand], outputs: &[Operand]) -> Result<()> {
        let (rows, channels) = (inputs[0].shape().rows(), inputs[0].shape().last());
        for tile in rec.tiles(rows, &[channels])? {
            let params = mask_frames::Params {
                elements: (tile.len() * channels) as u32,
                first_row: tile.start as u32,
                time: inputs[0].dims()[1] as u32,
                channels: channels as u32,
            };
            let (x, y) = (inputs[0].rows(&tile, channels), outputs[0].rows(&tile, channels));
            rec.dispatch(mask_frames::VARIANTS, &[], &params, &[&x, &inputs[1], &y], tile.len() * channels)?;
        }
        Ok(())
    }

    fn reference(&self, inputs: &[&Array]) -> Vec<Array> {
        let (x, lengths) = (inputs[0], inputs[1]);
        let value = |at: ndarray::IxDyn| if (at[1] as f64) < lengths[[at[0]]] { x[at] } else { 0.0 };
        vec![Array::from_shape_fn(x.raw_dim(), value)]
    }

    fn vjp(&self, ctx: &Vjp) -> Result<Vec<Option<Tensor>>> {
        Ok(vec![Some(ctx.dy()?.mask_frames(&ctx.inputs[1])?), None])
    }

    fn recomputable(&self) -> bool {
        true
    }

    fn in_place(&self, _: usize) -> &[usize] {
        &[0]
    }

    fn epilogue(&self) -> Option<Epilogue> {
        Some(Epilogue::Mask)
    }

    fn with_epilogue(&self, epilogue: Epilogue, operands: usize) -> Option<Arc<NodeOp>> {
        Chain(Finish { lengths: Some(1), ..Finish::NONE }).with_epilogue(epilogue, operands)
    }
}

impl Tensor {
    /// Sets frames t ≥ lengths\[b\] of [batch, time, channels] to 0.
    ///
    /// # Errors
    /// When the shapes do not fit.
    pub fn mask_frames(&self, lengths: &Tensor) -> Result<Tensor> {
        self.apply(MaskFrames, &[lengths])
    }
}
