//! The mixers by the name they have in a recipe.

use std::fmt::Debug;

use super::{
    BoundedPolynomialMixer, Context, FastFormer, HyperMixer, Mamba, PolynomialMixer, RegularAttention,
    RelativeAttention, RotaryAttention, SummaryMixer,
};
use crate::error::{Error, Result};
use crate::graph::{Scope, Tensor};
use crate::recipe::{MIXERS, ModelConfig};

/// What mixes frames: the layer's replacement of self-attention.
pub trait Mixer: Debug + Send + Sync {
    /// Whether the absolute sinusoid is added to the encoder's input for it: it has no other way to tell
    /// frames apart.
    fn wants_positions(&self) -> bool;

    /// [batch, time, d] → [batch, time, d]; the operand is normalized, the residual is added by the layer.
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
    let (width, heads, initialization) = (config.d_model, config.heads, config.initialization);
    let pom = PolynomialMixer::new(config);
    match name {
        "pom" => Ok(Box::new(pom)),
        "pom-selective" => Ok(Box::new(PolynomialMixer { selective: true, ..pom })),
        "pom-2way" => Ok(Box::new(PolynomialMixer { groups: 2, ..pom })),
        "pom-3way" => Ok(Box::new(PolynomialMixer { groups: 3, ..pom })),
        "pom-2026" => Ok(Box::new(BoundedPolynomialMixer::new(config))),
        "regular-mha" => Ok(Box::new(RegularAttention { width, heads, initialization })),
        "rope-mha" => Ok(Box::new(RotaryAttention { width, heads, initialization })),
        "relpos-mha" => Ok(Box::new(RelativeAttention { width, heads, initialization })),
        "summary-mixing" => Ok(Box::new(SummaryMixer {
            width,
            blocks: heads,
            hidden: config.summary_hidden,
            local: config.summary_local,
            activation: config.activation.into(),
            initialization,
        })),
        "hyper-mixing" => Ok(Box::new(HyperMixer { width, heads, hidden: config.ffn, initialization })),
        "fastformer" => Ok(Box::new(FastFormer { width, heads, initialization })),
        "mamba" => Ok(Box::new(Mamba { width, initialization })),
        _ => Err(Error::usage(format!("there is no mixer {name}; known are {}", MIXERS.join(", ")))),
    }
}
