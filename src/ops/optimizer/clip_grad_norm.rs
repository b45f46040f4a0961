//! Clipping by the global norm.

use ndarray::IxDyn;

use crate::error::Result;
use crate::exec::{Operand, Recorder};
use crate::graph::Tensor;
use crate::ops::{Array, Op, expect, mismatch};
use crate::shader::optimizer::clip_grad_norm;
use crate::shape::{DType, Spec};

/// From Σ x² of every gradient arena, `sums` `[k]`, and a factor `gradient_scale` `[1]` that the gradients have yet to be
/// multiplied by: stats `[3]` = (norm, scale, nonfinite) with norm = gradient_scale·√(Σ sums),
/// scale = gradient_scale·min(1, clip/(norm + 1e-6)) and nonfinite = 0; where the norm is infinite or NaN,
/// norm = scale = 0 and nonfinite = 1.
#[derive(Debug, Clone, Copy)]
pub struct ClipGradNorm {
    /// The largest norm; 0 or less for no limit.
    pub clip: f32,
}

impl Op for ClipGradNorm {
    fn name(&self) -> &'static str {
        "clip_grad_norm"
    }

    fn infer(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        expect(self.name(), inputs, &[DType::F32; 2])?;
        if inputs[0].shape.rank() != 1 || inputs[1].shape.elements() != 1 {
            return Err(mismatch(self.name(), inputs, "takes sums [k] and gradient_scale [1]"));
        }
        Ok(vec![Spec::f32([3])])
    }

    fn record(&self, rec: &mut Recorder, inputs: &[Operand], outputs: &[Operand]) -> Result<()> {
        let params = clip_grad_norm::Params { count: inputs[0].elements() as u32, clip: self.clip };
        let bindings = [&inputs[0], &inputs[1], &outputs[0]];
        rec.dispatch(clip_grad_norm::VARIANTS, &[], &params, &bindings, 1)
    }

    fn reference(&self, inputs: &[&Array]) -> Vec<Array> {
        let gradient_scale = inputs[1].sum();
        let norm = gradient_scale * inputs[0].sum().sqrt();
        let clip = if self.clip > 0.0 { (f64::from(self.clip) / (norm + 1e-6)).min(1.0) } else { 1.0 };
        let stats = if norm.is_finite() { [norm, gradient_scale * clip, 0.0] } else { [0.0, 0.0, 1.0] };
        vec![Array::from_shape_fn(IxDyn(&[3]), |i| stats[i[0]])]
    }
}

impl Tensor {
    /// Norm, scale and non-finite flag of gradients whose Σ x² an arena this tensor `[k]` holds; see
    /// [`ClipGradNorm`].
    ///
    /// # Errors
    /// When this tensor is not `[k]` or `gradient_scale` not `[1]`.
    pub fn clip_grad_norm(&self, gradient_scale: &Tensor, clip: f32) -> Result<Tensor> {
        self.apply(ClipGradNorm { clip }, &[gradient_scale])
    }
}
