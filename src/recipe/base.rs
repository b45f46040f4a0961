//! The published base models: one width a mixer.

use super::{MixerKind, MixerSpec, ModelConfig};

impl ModelConfig {
    /// The base model around `mixer`, of the paper's size: 95 M parameters more or less with a head to 8192 codes,
    /// in 12 layers.
    pub fn base(mixer: MixerKind) -> Self {
        Self { mixer: MixerSpec::Every(mixer), d_model: mixer.base_width(), ..Self::default() }
    }
}
