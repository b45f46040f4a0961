//! The mixers that a recipe can name.

use std::fmt::Debug;

use super::{
    BoundedPolynomialMixer, Context, FastFormer, HyperMixer, Mamba, PolynomialMixer, RegularAttention,
    RelativeAttention, RotaryAttention, SummaryMixer,
};
use crate::error::Result;
use crate::graph::{Scope, Tensor};
use crate::recipe::{MixerKind, ModelConfig};

/// A token mixer: the layer's replacement of self-attention.
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

/// A mixer of a model.
pub fn mixer(kind: MixerKind, config: &ModelConfig) -> Box<dyn Mixer> {
    let (width, heads, initialization) = (config.d_model, config.heads, config.initialization);
    let pom = PolynomialMixer::new(config);
    match kind {
        MixerKind::Pom => Box::new(pom),
        MixerKind::PomSelective => Box::new(PolynomialMixer { selective: true, ..pom }),
        MixerKind::Pom2Way => Box::new(PolynomialMixer { groups: 2, ..pom }),
        MixerKind::Pom3Way => Box::new(PolynomialMixer { groups: 3, ..pom }),
        MixerKind::Pom2026 => Box::new(BoundedPolynomialMixer::new(config)),
        MixerKind::RegularMha => Box::new(RegularAttention { width, heads, initialization }),
        MixerKind::RopeMha => Box::new(RotaryAttention { width, heads, initialization }),
        MixerKind::RelposMha => Box::new(RelativeAttention { width, heads, initialization }),
        MixerKind::SummaryMixing => Box::new(SummaryMixer {
            width,
            blocks: heads,
            hidden: config.summary_hidden,
            local: config.summary_local,
            activation: config.activation.into(),
            initialization,
        }),
        MixerKind::HyperMixing => Box::new(HyperMixer { width, heads, hidden: config.ffn, initialization }),
        MixerKind::FastFormer => Box::new(FastFormer { width, heads, initialization }),
        MixerKind::Mamba => Box::new(Mamba { width, initialization }),
    }
}
