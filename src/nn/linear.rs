//! y = x·Wᵀ + b.

use crate::error::Result;
use crate::graph::{Init, Scope, Tensor};
use crate::recipe::Initialization;

/// y = x·Wᵀ + b with W [outputs, inputs].
#[derive(Debug, Clone, Copy)]
pub struct Linear {
    /// Width of x.
    pub inputs: usize,
    /// Width of y.
    pub outputs: usize,
    /// Whether b is added.
    pub bias: bool,
    /// How W is drawn; b is always U(±1/√inputs).
    pub initialization: Initialization,
}

impl Linear {
    /// With a bias.
    pub fn new(inputs: usize, outputs: usize, initialization: Initialization) -> Self {
        Self { inputs, outputs, bias: true, initialization }
    }

    /// [.., inputs] → [.., outputs].
    ///
    /// # Errors
    /// When x has another width.
    pub fn forward(&self, scope: &Scope, x: &Tensor) -> Result<Tensor> {
        let (inputs, outputs) = (self.inputs, self.outputs);
        let init = weight_init(self.initialization, inputs, outputs);
        let weight = scope.parameter("weight", [outputs, inputs], init)?;
        let bias = match self.bias {
            true => Some(scope.parameter("bias", [outputs], Init::fan_in_uniform(inputs))?),
            false => None,
        };
        x.linear(&weight, bias.as_ref())
    }
}

/// The distribution of a weight that has `fan_in` inputs and `fan_out` outputs.
pub fn weight_init(initialization: Initialization, fan_in: usize, fan_out: usize) -> Init {
    match initialization {
        Initialization::XavierNormal => Init::xavier_normal(fan_in, fan_out),
        Initialization::Torch => Init::fan_in_uniform(fan_in),
    }
}
