//! Recipes: everything that decides what is trained and how, as plain data.
//!
//! A recipe is a TOML file; what it leaves out has the value of the published system. Sections:
//! `[model]`, `[features]`, `[pretrain]`, `[finetune]`, `[run]`.

mod base;
mod difference;
#[cfg(feature = "cli")]
mod file;
#[cfg(feature = "cli")]
pub(crate) use file::{line, one_line};
mod model;
mod phase;
mod validate;

use serde::{Deserialize, Serialize};

pub use difference::{Difference, listed};
pub use model::{
    Activation, Compute, FeatureConfig, Initialization, MIXERS, MixerSpec, ModelConfig, Normalization,
    Padding, Recompute, SavedActivations,
};
pub use phase::{
    AugmentationConfig, DataConfig, Duration, FinetuneConfig, Head, OptimizerConfig, PretrainConfig,
    ScheduleConfig, VocabularySource,
};

/// Keys of one table of which giving one takes the other back.
const ALTERNATIVES: [[&str; 2]; 2] = [["batch_seconds", "batch_utterances"], ["epochs", "steps"]];

/// A whole recipe.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// The encoder.
    pub model: ModelConfig,
    /// From audio to the encoder's input.
    pub features: FeatureConfig,
    /// BEST-RQ pre-training.
    pub pretrain: PretrainConfig,
    /// CTC fine-tuning.
    pub finetune: FinetuneConfig,
    /// Seed, logging, checkpoints.
    pub run: RunConfig,
}

/// Seed, logging, checkpoints and validation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunConfig {
    /// Everything random follows from it.
    pub seed: u32,
    /// Steps from one line of `metrics.jsonl` to the next.
    pub log_every: u64,
    /// Steps from one checkpoint to the next.
    pub checkpoint_every: u64,
    /// How many of the newest checkpoints stay.
    pub keep_checkpoints: usize,
    /// Steps from one validation to the next; 0 validates at the end of every epoch.
    pub validate_every: u64,
}

impl Default for RunConfig {
    fn default() -> Self {
        Self { seed: 0, log_every: 10, checkpoint_every: 1000, keep_checkpoints: 2, validate_every: 0 }
    }
}
