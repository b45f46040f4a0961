//! `[model]` and `[features]`: the encoder and its input (paper §3 and §4).

use std::collections::BTreeMap;

use serde::de::{Error as _, IgnoredAny};
use serde::{Deserialize, Deserializer, Serialize};

use super::{MixerKind, MixerSpec};
use crate::exec::PlanOptions;
use crate::ops::map::ActivationKind;

/// The Conformer encoder: its architecture, on which the weights depend.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// The token mixer of each layer.
    pub mixer: MixerSpec,
    /// Width d of the encoder, in channels.
    pub d_model: usize,
    /// Number L of Conformer layers.
    pub layers: usize,
    /// Inner width of the feed-forward modules, in channels.
    pub ffn: usize,
    /// Frames under the depthwise convolution; odd.
    pub kernel: usize,
    /// Heads, for the mixers that have heads.
    pub heads: usize,
    /// Degree k of the Polynomial Mixer.
    pub degree: usize,
    /// Expansion D of the Polynomial Mixer.
    pub expand: usize,
    /// Width of SummaryMixing's hidden layers, in channels.
    #[serde(default = "summary_hidden")]
    pub summary_hidden: usize,
    /// For models that transcribe streams: encoder frames (40 ms) of a chunk; a frame depends on nothing after
    /// its chunk's end. Without it, on the whole utterance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub causal_chunk: Option<usize>,
    /// Width of SummaryMixing's local output, in channels.
    #[serde(default = "summary_local")]
    pub summary_local: usize,
    /// Non-linearity of the feed-forward and convolution modules.
    pub activation: Nonlinearity,
    /// Channels of the front-end's two convolutions.
    pub channels: [usize; 2],
    /// The treatment of padded frames.
    pub padding: PaddedFrames,
    /// Weight initialization.
    pub initialization: Initialization,
}

fn summary_hidden() -> usize {
    512
}

fn summary_local() -> usize {
    512
}

impl Default for ModelConfig {
    fn default() -> Self {
        Self {
            mixer: MixerSpec::Every(MixerKind::Pom),
            d_model: 488,
            layers: 12,
            ffn: 2048,
            kernel: 31,
            heads: 8,
            degree: 2,
            expand: 2,
            summary_hidden: summary_hidden(),
            causal_chunk: None,
            summary_local: summary_local(),
            activation: Nonlinearity::Gelu,
            channels: [128, 32],
            padding: PaddedFrames::Masked,
            initialization: Initialization::XavierNormal,
        }
    }
}

/// How a model is trained and run, whatever its weights are: the other keys of `[model]`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ModelOptions {
    /// Probability of dropping an element, everywhere in the front-end and the encoder.
    pub dropout: f64,
    /// Probability of skipping a layer in a training step.
    pub layer_drop: f64,
    /// How plans compute.
    #[serde(flatten)]
    pub plan: PlanOptions,
}

fn dropout() -> f64 {
    0.1
}

impl Default for ModelOptions {
    fn default() -> Self {
        Self { dropout: dropout(), layer_drop: 0.0, plan: PlanOptions::default() }
    }
}

/// The table `[model]` of a recipe, which is the `model` of a `config.json`: architecture and options together.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct ModelTable {
    /// The architecture.
    #[serde(flatten)]
    pub model: ModelConfig,
    /// The options.
    #[serde(flatten)]
    pub options: ModelOptions,
}

impl<'de> Deserialize<'de> for ModelTable {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Flat {
            #[serde(flatten)]
            model: ModelConfig,
            #[serde(default = "dropout")]
            dropout: f64,
            #[serde(default)]
            layer_drop: f64,
            #[serde(flatten)]
            plan: PlanOptions,
            // A flattened struct of flattened structs would leave its keys here.
            #[serde(flatten)]
            unknown: BTreeMap<String, IgnoredAny>,
        }
        let Flat { model, dropout, layer_drop, plan, unknown } = Flat::deserialize(deserializer)?;
        let options = ModelOptions { dropout, layer_drop, plan };
        let Some(key) = unknown.into_keys().next() else { return Ok(Self { model, options }) };
        let all = Self { model: ModelConfig { causal_chunk: Some(1), ..model }, options };
        let known = serde_json::to_value(all).unwrap_or_default();
        let known: Vec<String> =
            known.as_object().into_iter().flatten().map(|(key, _)| format!("`{key}`")).collect();
        Err(D::Error::custom(format!("unknown field `{key}`, expected one of {}", known.join(", "))))
    }
}

/// Non-linearity of the feed-forward and convolution modules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Nonlinearity {
    /// x·Φ(x), the exact form.
    Gelu,
    /// x·σ(x).
    Silu,
}

impl From<Nonlinearity> for ActivationKind {
    fn from(nonlinearity: Nonlinearity) -> Self {
        match nonlinearity {
            Nonlinearity::Gelu => Self::Gelu,
            Nonlinearity::Silu => Self::Silu,
        }
    }
}

/// The treatment of padded frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PaddedFrames {
    /// Nothing: an utterance's output is the same alone and in any batch.
    Masked,
    /// What they do in the published code, where they leak into the mean and the convolution.
    Reference,
}

/// Weight initialization.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Initialization {
    /// Xavier-normal matrices and convolutions in the encoder, as in the published recipe.
    XavierNormal,
    /// PyTorch's defaults everywhere.
    Torch,
}

/// From audio to the encoder's input.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeatureConfig {
    /// Over what the log-mel bands are normalized.
    pub normalization: Normalization,
    /// Seconds of silence added at both ends of every labeled or transcribed clip; pre-training adds none.
    pub silence: f64,
}

impl Default for FeatureConfig {
    fn default() -> Self {
        Self { normalization: Normalization::Global, silence: 0.0 }
    }
}

/// Over what the log-mel bands are normalized.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Normalization {
    /// Mean and deviation of each band over the training data, saved with the model.
    Global,
    /// Mean and deviation of each band over the utterance.
    Sentence,
}
