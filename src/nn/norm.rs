//! Layer normalization with a learned scale and shift.

use crate::error::Result;
use crate::graph::{Init, Scope, Tensor};

/// y = (x − mean)/√(var + eps)·weight + bias over the last axis.
#[derive(Debug, Clone, Copy)]
pub struct LayerNorm {
    /// Size of the last axis.
    pub width: usize,
    /// Added to the variance.
    pub eps: f32,
}

impl LayerNorm {
    /// With eps 1e-5.
    pub fn new(width: usize) -> Self {
        Self { width, eps: 1e-5 }
    }

    /// [.., width] → [.., width].
    ///
    /// # Errors
    /// When x has another width.
    pub fn forward(&self, scope: &Scope, x: &Tensor) -> Result<Tensor> {
        let weight = scope.parameter("weight", [self.width], Init::Constant(1.0))?;
        let bias = scope.parameter("bias", [self.width], Init::Constant(0.0))?;
        x.layer_norm(&weight, &bias, self.eps)
    }
}
