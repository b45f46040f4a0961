//! The mixers by the name they have in a recipe.

use std::fmt::Debug;

use super::{Context, PolynomialMixer};
use crate::error::{Error, Result};
use crate::graph::{Scope, Tensor};
use crate::recipe::{MIXERS, ModelConfig};

/// What mixes frames: the layer's replacement of self-attention.
pub trait Mixer: Debug + Send + Sync {
    /// Whether the absolute sinusoid is added to the encoder's input for it: it has no other way to tell
    /// frames apart.
    fn wants_positions(&self) -> bool;

    /// [batch, time, d] → [batch, time, d]; the operand is normalised, the residual is added by the layer.
    ///
    /// # Errors
    /// When x does not fit.
    fn forward(&self, scope: &Scope, ctx: &Context, x: &Tensor) -> Result<Tensor>;
}

/// The mixer `name` of a model.
///
/// # Errors
/// When there is no mixer of this name.
pub fn mixer(name: &str, config: &ModelConfig) -> Result<Box<dyn Mixer>> {
    match name {
        "pom" => Ok(Box::new(PolynomialMixer {
            width: config.d_model,
            degree: config.degree,
            expand: config.expand,
            initialization: config.initialization,
        })),
        _ => Err(Error::usage(format!("there is no mixer {name}; known are {}", MIXERS.join(", ")))),
    }
}
