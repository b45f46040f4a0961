//! `[model]` and `[features]`: the encoder and its input (paper §3 and §4).

use serde::{Deserialize, Serialize};

/// Every mixer that a layer can carry, by its name in a recipe.
pub const MIXERS: &[&str] = &[
    "pom",
    "pom-selective",
    "pom-2way",
    "pom-3way",
    "pom-2026",
    "regular-mha",
    "rope-mha",
    "relpos-mha",
    "summary-mixing",
    "hyper-mixing",
    "fastformer",
    "mamba",
];

/// The Conformer encoder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// What mixes frames in each layer.
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
    pub activation: Activation,
    /// Probability of dropping an element, everywhere in the front-end and the encoder.
    pub dropout: f64,
    /// Probability of skipping a layer in a training step.
    pub layer_drop: f64,
    /// Channels of the front-end's two convolutions.
    pub channels: [usize; 2],
    /// What padded frames do.
    pub padding: Padding,
    /// Law of the initial weights.
    pub initialization: Initialization,
    /// What a training step computes again instead of keeping it for the backward pass.
    #[serde(default)]
    pub checkpoint: Recompute,
    /// How a training step saves what it does not compute again.
    #[serde(default)]
    pub saved_activations: SavedActivations,
    /// Precision of the operands of matrix products.
    #[serde(default)]
    pub compute: Compute,
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
            mixer: MixerSpec::Every("pom".to_owned()),
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
            activation: Activation::Gelu,
            dropout: 0.1,
            layer_drop: 0.0,
            channels: [128, 32],
            padding: Padding::Masked,
            initialization: Initialization::XavierNormal,
            checkpoint: Recompute::Cheap,
            saved_activations: SavedActivations::F32,
            compute: Compute::F32,
        }
    }
}

/// Which mixer each layer carries: `"pom"`, a list with a name for every layer, or
/// `{ lower = "…", upper = "…", split = n }` with `lower` in the layers below `n` (from 0).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    untagged,
    deny_unknown_fields,
    expecting = "expected a mixer's name, a list of names, or { lower = \"…\", upper = \"…\", split = n }"
)]
pub enum MixerSpec {
    /// The same in every layer.
    Every(String),
    /// One name a layer.
    PerLayer(Vec<String>),
    /// Two kinds, one above the other.
    Split {
        /// Mixer of the layers `0..split`.
        lower: String,
        /// Mixer of the other layers.
        upper: String,
        /// Number of layers that carry `lower`.
        split: usize,
    },
}

impl MixerSpec {
    /// The names of its mixers in the order of the layers, each once, joined by "+".
    pub fn label(&self) -> String {
        let names: Vec<&str> = match self {
            Self::Every(name) => vec![name],
            Self::PerLayer(names) => names.iter().map(String::as_str).collect(),
            Self::Split { lower, upper, .. } => vec![lower, upper],
        };
        let new = |&index: &usize| !names[..index].contains(&names[index]);
        (0..names.len()).filter(new).map(|index| names[index]).collect::<Vec<_>>().join("+")
    }

    /// Name of the mixer of layer `layer`, from 0. A list that is too short repeats its last name;
    /// [`ModelConfig::validate`] refuses it.
    pub fn for_layer(&self, layer: usize) -> &str {
        match self {
            Self::Every(name) => name,
            Self::PerLayer(names) => names.get(layer).or(names.last()).map_or("", String::as_str),
            Self::Split { lower, upper, split } => {
                if layer < *split {
                    lower
                } else {
                    upper
                }
            }
        }
    }
}

/// Non-linearity of the feed-forward and convolution modules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Activation {
    /// x·Φ(x), the exact form.
    Gelu,
    /// x·σ(x).
    Silu,
}

/// What padded frames do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Padding {
    /// Nothing: an utterance's output is the same alone and in any batch.
    Masked,
    /// What they do in the published code, where they leak into the mean and the convolution.
    Reference,
}

/// Law of the initial weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Initialization {
    /// Xavier-normal matrices and convolutions in the encoder, as in the published recipe.
    XavierNormal,
    /// PyTorch's defaults everywhere.
    Torch,
}

/// What a training step computes again instead of keeping it for the backward pass. All give the same bits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Recompute {
    /// Nothing.
    None,
    /// What is cheap: activations, norms, dropout, gates.
    #[default]
    Cheap,
    /// Whole layers from their inputs, the front-end being one; inside them, what is cheap once more.
    Layer,
}

/// How a training step saves what its backward pass reads of the front-end and the layers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SavedActivations {
    /// As it is.
    #[default]
    F32,
    /// Rounded to halves, in half the memory. The forward pass has the same bits; gradients differ from those of
    /// [`Self::F32`] by what 11 binary digits leave out.
    F16,
}

/// Precision of the operands of matrix products, in training and inference; sums and results, parameters, all other
/// operations and the optimizer are f32 always.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Compute {
    /// As they are.
    #[default]
    F32,
    /// Rounded to halves, which adapters with cooperative matrices multiply faster; others give the same
    /// results, no faster. Training scales its loss so that gradients fit into halves, see
    /// [`LossScale`](crate::train::LossScale).
    F16,
}

/// From audio to the encoder's input.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeatureConfig {
    /// Over what the log-mel bands are normalized.
    pub normalization: Normalization,
    /// Seconds of silence added at both ends of every labelled or transcribed clip; pre-training adds none.
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
