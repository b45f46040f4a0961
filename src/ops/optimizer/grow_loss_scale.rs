//! The scale of the loss after a step.

use ndarray::IxDyn;

use crate::error::Result;
use crate::exec::{Operand, Recorder};
use crate::ops::{Alias, Array, Op, expect, mismatch};
use crate::shader::optimizer::loss_scale;
use crate::shape::{DType, Spec};

/// Changes `state` `[2]` = (scale of the loss, steps since it changed) in place by the `stats` `[3]` of
/// [`ClipGradNorm`](super::ClipGradNorm): half the scale after a step whose gradient was not finite, but at least 1;
/// twice the scale after `growth_interval` other steps in a row, but at most 2²⁴ (Micikevicius et al. 2018).
#[derive(Debug, Clone, Copy)]
pub struct GrowLossScale {
    /// Finite steps in a row before the scale grows.
    pub growth_interval: u32,
}

impl Op for GrowLossScale {
    fn name(&self) -> &'static str {
        "loss_scale"
    }

    fn infer(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        expect(self.name(), inputs, &[DType::F32; 2])?;
        if inputs[0].shape.dims() != [2] || inputs[1].shape.dims() != [3] {
            return Err(mismatch(self.name(), inputs, "takes a state [2] and stats [3]"));
        }
        Ok(vec![inputs[0].clone()])
    }

    fn record(&self, rec: &mut Recorder, inputs: &[Operand], _: &[Operand]) -> Result<()> {
        let params = loss_scale::Params { growth_interval: self.growth_interval };
        rec.dispatch(loss_scale::VARIANTS, &[], &params, &[&inputs[0], &inputs[1]], 1)
    }

    fn reference(&self, inputs: &[&Array]) -> Vec<Array> {
        let ([scale, steps], nonfinite) = ([inputs[0][[0]], inputs[0][[1]]], inputs[1][[2]] > 0.0);
        let state = match steps + 1.0 {
            _ if nonfinite => [(scale / 2.0).max(1.0), 0.0],
            steps if steps >= f64::from(self.growth_interval) => [(2.0 * scale).min(16_777_216.0), 0.0],
            steps => [scale, steps],
        };
        vec![Array::from_shape_fn(IxDyn(&[2]), |i| state[i[0]])]
    }

    fn alias(&self, _: usize) -> Option<Alias> {
        Some(Alias::Update(0))
    }
}
