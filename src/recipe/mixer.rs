//! The mixers: their names in a recipe, and what else depends on which one it is.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::ModelConfig;
use crate::error::{Error, Result};

/// A mixer that a layer can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MixerKind {
    /// The Polynomial Mixer.
    Pom,
    /// With a selective gate.
    PomSelective,
    /// Two Polynomial Mixers side by side.
    Pom2Way,
    /// Three Polynomial Mixers side by side.
    Pom3Way,
    /// The bounded Polynomial Mixer.
    Pom2026,
    /// Multi-head attention.
    RegularMha,
    /// Multi-head attention with rotary positions.
    RopeMha,
    /// Multi-head attention with relative positions.
    RelposMha,
    /// SummaryMixing.
    SummaryMixing,
    /// HyperMixing.
    HyperMixing,
    /// FastFormer.
    FastFormer,
    /// Mamba.
    Mamba,
}

impl MixerKind {
    /// All mixers.
    pub const ALL: [Self; 12] = [
        Self::Pom,
        Self::PomSelective,
        Self::Pom2Way,
        Self::Pom3Way,
        Self::Pom2026,
        Self::RegularMha,
        Self::RopeMha,
        Self::RelposMha,
        Self::SummaryMixing,
        Self::HyperMixing,
        Self::FastFormer,
        Self::Mamba,
    ];

    /// Its name in a recipe.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pom => "pom",
            Self::PomSelective => "pom-selective",
            Self::Pom2Way => "pom-2way",
            Self::Pom3Way => "pom-3way",
            Self::Pom2026 => "pom-2026",
            Self::RegularMha => "regular-mha",
            Self::RopeMha => "rope-mha",
            Self::RelposMha => "relpos-mha",
            Self::SummaryMixing => "summary-mixing",
            Self::HyperMixing => "hyper-mixing",
            Self::FastFormer => "fastformer",
            Self::Mamba => "mamba",
        }
    }

    /// Whether it can work chunk by chunk, with a state that it carries along.
    pub fn streams(self) -> bool {
        self.is_polynomial()
    }

    /// Whether it is a form of the Polynomial Mixer.
    fn is_polynomial(self) -> bool {
        matches!(self, Self::Pom | Self::PomSelective | Self::Pom2Way | Self::Pom3Way | Self::Pom2026)
    }

    /// The keys of `[model]` that only some mixers read, it among them.
    pub(super) fn keys(self) -> &'static [&'static str] {
        match self {
            Self::Mamba => &[],
            Self::SummaryMixing => &["heads", "summary_hidden", "summary_local"],
            Self::RegularMha | Self::RopeMha | Self::RelposMha | Self::HyperMixing | Self::FastFormer => {
                &["heads"]
            }
            _ => &["degree", "expand"],
        }
    }

    /// The widths that its heads divide, by their keys.
    pub(super) fn head_widths(self, config: &ModelConfig) -> Vec<(&'static str, usize)> {
        let width = ("d_model", config.d_model);
        match self {
            Self::SummaryMixing => {
                vec![
                    width,
                    ("summary_hidden", config.summary_hidden),
                    ("summary_local", config.summary_local),
                ]
            }
            Self::HyperMixing => vec![width, ("ffn", config.ffn)],
            Self::FastFormer | Self::RegularMha | Self::RopeMha | Self::RelposMha => vec![width],
            _ => vec![],
        }
    }

    /// Whether it rotates the channels of a head in pairs, so that their number must be even.
    pub(super) fn rotates_pairs(self) -> bool {
        self == Self::RopeMha
    }

    /// The width of the published base model around it. Mamba, whose width is not published, has the one that comes
    /// next to this size; other forms of PoM have PoM's.
    pub(super) fn base_width(self) -> usize {
        match self {
            Self::RegularMha | Self::RopeMha | Self::RelposMha => 576,
            Self::SummaryMixing => 632,
            Self::HyperMixing => 672,
            Self::FastFormer => 616,
            Self::Mamba => 480,
            _ => 488,
        }
    }
}

impl fmt::Display for MixerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for MixerKind {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name).ok_or_else(|| {
            let known = Self::ALL.map(Self::name).join(", ");
            Error::usage(format!("unknown mixer {name:?}; known mixers are: {known}"))
        })
    }
}

/// Which mixer each layer has: `"pom"`, a list with a name for every layer, or
/// `{ lower = "…", upper = "…", split = n }` with `lower` in the layers below `n` (from 0).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "MixerNames", into = "MixerNames")]
pub enum MixerSpec {
    /// The same in every layer.
    Every(MixerKind),
    /// One a layer.
    PerLayer(Vec<MixerKind>),
    /// Two kinds, one above the other.
    Split {
        /// Mixer of the layers `0..split`.
        lower: MixerKind,
        /// Mixer of the other layers.
        upper: MixerKind,
        /// Number of layers that have `lower`.
        split: usize,
    },
}

impl MixerSpec {
    /// Its mixers in the order of the layers.
    pub(super) fn kinds(&self) -> Vec<MixerKind> {
        match self {
            Self::Every(kind) => vec![*kind],
            Self::PerLayer(kinds) => kinds.clone(),
            Self::Split { lower, upper, .. } => vec![*lower, *upper],
        }
    }

    /// The names of its mixers in the order of the layers, each once, joined by "+".
    pub fn label(&self) -> String {
        let names: Vec<&str> = self.kinds().into_iter().map(MixerKind::name).collect();
        let new = |&index: &usize| !names[..index].contains(&names[index]);
        (0..names.len()).filter(new).map(|index| names[index]).collect::<Vec<_>>().join("+")
    }

    /// The mixer of layer `layer`, from 0. A list that is too short repeats its last one, an empty list is of
    /// [`MixerKind::Pom`]; [`ModelConfig::validate`] refuses both.
    pub fn for_layer(&self, layer: usize) -> MixerKind {
        match self {
            Self::Every(kind) => *kind,
            Self::PerLayer(kinds) => *kinds.get(layer).or(kinds.last()).unwrap_or(&MixerKind::Pom),
            Self::Split { lower, upper, split } => *if layer < *split { lower } else { upper },
        }
    }
}

/// A [`MixerSpec`] as a file has it.
#[derive(Clone, Serialize, Deserialize)]
#[serde(
    untagged,
    deny_unknown_fields,
    expecting = "expected a mixer's name, a list of names, or { lower = \"…\", upper = \"…\", split = n }"
)]
enum MixerNames {
    Every(String),
    PerLayer(Vec<String>),
    Split { lower: String, upper: String, split: usize },
}

impl TryFrom<MixerNames> for MixerSpec {
    type Error = Error;

    fn try_from(names: MixerNames) -> Result<Self> {
        Ok(match names {
            MixerNames::Every(name) => Self::Every(name.parse()?),
            MixerNames::PerLayer(names) => {
                Self::PerLayer(names.iter().map(|name| name.parse()).collect::<Result<_>>()?)
            }
            MixerNames::Split { lower, upper, split } => {
                Self::Split { lower: lower.parse()?, upper: upper.parse()?, split }
            }
        })
    }
}

impl From<MixerSpec> for MixerNames {
    fn from(spec: MixerSpec) -> Self {
        let name = |kind: MixerKind| kind.name().to_owned();
        match spec {
            MixerSpec::Every(kind) => Self::Every(name(kind)),
            MixerSpec::PerLayer(kinds) => Self::PerLayer(kinds.into_iter().map(name).collect()),
            MixerSpec::Split { lower, upper, split } => {
                Self::Split { lower: name(lower), upper: name(upper), split }
            }
        }
    }
}
