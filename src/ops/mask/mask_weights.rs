//! Weights of a mean from a mask.

use crate::error::Result;
use crate::exec::{Operand, Recorder};
use crate::graph::Tensor;
use crate::ops::{Array, Op, expect, mismatch};
use crate::shader::mask::mask_weights;
use crate::shape::{DType, Spec};

/// The rows of a mask [.., time] of real weights, each divided by its sum: mask_t / Σ_s mask_s, 0 where the
/// sum is 0. `causal`: the reciprocal 1 / Σ_{s ≤ t} mask_s instead, 0 where that sum is 0.
///
/// A mask has no derivative.
#[derive(Debug, Clone, Copy)]
pub struct MaskWeights {
    /// Whether the sum runs up to the frame only.
    pub causal: bool,
}

impl Op for MaskWeights {
    fn name(&self) -> &'static str {
        "mask_weights"
    }

    fn infer(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        expect(self.name(), inputs, &[DType::F32])?;
        if inputs[0].shape.rank() == 0 {
            return Err(mismatch(self.name(), inputs, "takes a mask [.., time]"));
        }
        Ok(vec![inputs[0].clone()])
    }

    fn record(&self, rec: &mut Recorder, inputs: &[Operand], outputs: &[Operand]) -> Result<()> {
        let (mask, weights) = (&inputs[0], &outputs[0]);
        let (rows, time) = (mask.shape().rows(), mask.shape().last());
        let constants = [("CAUSAL", f64::from(u8::from(self.causal)))];
        for tile in rec.tiles(rows, &[time])? {
            let params = mask_weights::Params { rows: tile.len() as u32, time: time as u32 };
            let bindings = [&mask.rows(&tile, time), &weights.rows(&tile, time)];
            rec.dispatch(mask_weights::VARIANTS, &constants, &params, &bindings, tile.len())?;
        }
        Ok(())
    }

    fn reference(&self, inputs: &[&Array]) -> Vec<Array> {
        let inverse = |x: f64| if x == 0.0 { 0.0 } else { 1.0 / x };
        let mut weights = inputs[0].clone();
        for mut row in weights.rows_mut() {
            if self.causal {
                let mut sum = 0.0;
                row.mapv_inplace(|x| {
                    sum += x;
                    inverse(sum)
                });
            } else {
                let factor = inverse(row.sum());
                row.mapv_inplace(|x| x * factor);
            }
        }
        vec![weights]
    }
}

impl Tensor {
    /// The rows of this mask [.., time], each divided by its sum; rows that sum to 0 are 0. Without a
    /// derivative.
    ///
    /// # Errors
    /// When the mask is not f32 or has no axis.
    pub fn mask_weights(&self) -> Result<Tensor> {
        self.apply(MaskWeights { causal: false }, &[])
    }

    /// The mean over the time of this tensor [batch, time, channels] with a mask [batch, time], or a mean for
    /// each of `queries` places with one [batch, queries, time]: [batch, queries, channels], of 1 query where
    /// the mask has no such axis. Where the weights sum to 0, so does the mean. The mask has no derivative.
    ///
    /// # Errors
    /// When the shapes do not fit.
    pub fn masked_mean(&self, mask: &Tensor) -> Result<Tensor> {
        let weights = mask.mask_weights()?;
        match *weights.dims() {
            [batch, time] => weights.reshape([batch, 1, time])?.matmul(self),
            _ => weights.matmul(self),
        }
    }
}
