//! The published base models: one width a mixer.

use super::{MixerSpec, ModelConfig};

impl ModelConfig {
    /// The base model around `mixer`, of the paper's size: 95 M parameters more or less with a head to 8192 codes,
    /// in 12 layers. Mamba, whose width is not published, has the one that comes next to this size, other forms of PoM
    /// have PoM's. [`ModelConfig::validate`] refuses a name that is no mixer.
    pub fn base(mixer: &str) -> Self {
        let d_model = match mixer {
            "regular-mha" | "rope-mha" | "relpos-mha" => 576,
            "summary-mixing" => 632,
            "hyper-mixing" => 672,
            "fastformer" => 616,
            "mamba" => 480,
            _ => 488,
        };
        Self { mixer: MixerSpec::Every(mixer.to_owned()), d_model, ..Self::default() }
    }
}
