//! Recipes: everything that decides what is trained and how, as plain data.
//!
//! A recipe is a TOML file; what it leaves out has the value of the published system. Sections:
//! `[model]`, `[features]`, `[pretrain]`, `[finetune]`, `[run]`.

mod base;
mod difference;
#[cfg(feature = "cli")]
mod file;
mod mixer;
mod model;
mod phase;
mod validate;

use serde::{Deserialize, Serialize};

pub use difference::{Difference, listed};
#[cfg(feature = "cli")]
pub(crate) use file::{line, one_line};
pub use mixer::{MixerKind, MixerSpec};
pub use model::{
    FeatureConfig, Initialization, ModelConfig, ModelOptions, ModelTable, Nonlinearity, Normalization,
    PaddedFrames,
};
pub use phase::{
    AugmentationConfig, BatchSeconds, BatchUtterances, DataConfig, Duration, FinetuneConfig, Fit, GapSeconds,
    Head, OptimizerConfig, PretrainConfig, ScheduleConfig, Target, TaskKind, VocabularySource,
};

/// Keys of one table of which giving one takes the other back.
const ALTERNATIVES: [[&str; 2]; 2] = [["batch_seconds", "batch_utterances"], ["epochs", "steps"]];

/// Keys whose value is replaced whole, though it may be a table.
const WHOLE: [&str; 3] = ["mixer", "schedule", "vocabulary"];

/// A whole recipe.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "Tables", into = "Tables")]
pub struct Recipe {
    /// The encoder's architecture.
    pub model: ModelConfig,
    /// How the encoder is trained and run.
    pub options: ModelOptions,
    /// From audio to the encoder's input.
    pub features: FeatureConfig,
    /// BEST-RQ pre-training.
    pub pretrain: PretrainConfig,
    /// Fine-tuning.
    pub finetune: FinetuneConfig,
    /// Seed, logging, checkpoints.
    pub run: RunConfig,
}

/// A [`Recipe`] as a file has it: architecture and options are one table.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Tables {
    model: ModelTable,
    features: FeatureConfig,
    pretrain: PretrainConfig,
    finetune: FinetuneConfig,
    run: RunConfig,
}

impl From<Tables> for Recipe {
    fn from(tables: Tables) -> Self {
        let Tables { model: ModelTable { model, options }, features, pretrain, finetune, run } = tables;
        Self { model, options, features, pretrain, finetune, run }
    }
}

impl From<Recipe> for Tables {
    fn from(recipe: Recipe) -> Self {
        let Recipe { model, options, features, pretrain, finetune, run } = recipe;
        Self { model: ModelTable { model, options }, features, pretrain, finetune, run }
    }
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
