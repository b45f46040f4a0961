//! BEST-RQ's masking by noise.

use crate::error::Result;
use crate::exec::{Operand, Recorder};
use crate::graph::Tensor;
use crate::ops::{Array, Op, expect, mismatch};
use crate::rng::{normal, philox};
use crate::shader::random::masked_noise;
use crate::shape::{DType, Shape, Spec};

/// y[b, t, f] = std·n where mask[⌊t/stack⌋] = 1, else x[b, t, f], with n ~ N(0, 1) drawn for every element;
/// x [batch, frames, bands], mask u32 [frames/stack], rng u32 \[3\] = (seed, optimizer step, micro-batch).
///
/// n is Box-Muller of Philox at counter ((b·frames + t)·bands + f) under mix(seed, step, micro-batch, stream).
/// Features are data: there is no gradient.
#[derive(Debug, Clone, Copy)]
pub struct MaskedNoise {
    /// Standard deviation of the noise, in the features' unit.
    pub std: f32,
    /// The stream of the place in the model, [`crate::rng::stream`] of its path.
    pub stream: u32,
    /// Frames that one element of the mask covers.
    pub stack: usize,
}

impl Op for MaskedNoise {
    fn name(&self) -> &'static str {
        "masked_noise"
    }

    fn infer(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        expect(self.name(), inputs, &[DType::F32, DType::U32, DType::U32])?;
        match (inputs[0].shape.dims(), inputs[1].shape.dims()) {
            (&[_, frames, _], &[positions])
                if self.stack > 0
                    && positions * self.stack == frames
                    && inputs[2].shape == Shape::from([3]) =>
            {
                Ok(vec![inputs[0].clone()])
            }
            _ => {
                let wanted = format!("x [batch, frames, bands], mask [frames/{}], rng [3]", self.stack);
                Err(mismatch(self.name(), inputs, &wanted))
            }
        }
    }

    fn record(&self, rec: &mut Recorder, inputs: &[Operand], outputs: &[Operand]) -> Result<()> {
        let dims = inputs[0].dims();
        let params = masked_noise::Params {
            elements: inputs[0].elements() as u32,
            frames: dims[1] as u32,
            bands: dims[2] as u32,
            stack: self.stack as u32,
            deviation: self.std,
            stream: self.stream,
        };
        let bindings = [&inputs[0], &inputs[1], &inputs[2], &outputs[0]];
        rec.dispatch(masked_noise::VARIANTS, &[], &params, &bindings, inputs[0].elements())
    }

    fn reference(&self, inputs: &[&Array]) -> Vec<Array> {
        let key = super::key(inputs[2], self.stream);
        let bands = inputs[0].shape()[2];
        let mut y = inputs[0].as_standard_layout().into_owned();
        let frames = y.shape()[1];
        for (i, y) in y.iter_mut().enumerate() {
            if inputs[1][[i / bands % frames / self.stack]] == 1.0 {
                *y = f64::from(self.std) * normal(philox([i as u32, 0], key));
            }
        }
        vec![y]
    }
}

impl Tensor {
    /// Replaces the frames that `mask` marks with 1 by noise; see [`MaskedNoise`].
    ///
    /// # Errors
    /// When the shapes do not fit.
    pub fn masked_noise(&self, op: MaskedNoise, mask: &Tensor, rng: &Tensor) -> Result<Tensor> {
        self.apply(op, &[mask, rng])
    }
}
