//! Settings: layers, steps, learning rates.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::recipe::{OptimizerConfig, ScheduleConfig};

/// Which layers learn; the head always does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Layers {
    /// The head.
    Head,
    /// The last layers of the encoder, so many, with its final LayerNorm.
    Last(usize),
    /// Everything, the front-end too.
    #[default]
    All,
}

impl FromStr for Layers {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        match text {
            "head" => Ok(Self::Head),
            "all" => Ok(Self::All),
            number => match number.parse() {
                Ok(layers) if layers > 0 => Ok(Self::Last(layers)),
                _ => Err("give head, all, or how many of the last layers".to_owned()),
            },
        }
    }
}

impl fmt::Display for Layers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Head => f.write_str("the head"),
            Self::Last(1) => f.write_str("the head and the last layer"),
            Self::Last(layers) => write!(f, "the head and the last {layers} layers"),
            Self::All => f.write_str("all layers"),
        }
    }
}

/// How to learn.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub struct Settings {
    /// Optimizer steps, of up to eight takes each; if not given, 1000 where the head learns alone, which are soon done, else
    /// 100.
    pub steps: Option<u64>,
    /// Which layers learn.
    pub layers: Layers,
    /// Seed of the order, of what is held out and of dropout.
    pub seed: u32,
    /// Highest learning rate of the encoder's layers, 0.001 if not given; it rises for a tenth of the steps and falls to 0.
    pub encoder_rate: Option<f64>,
    /// The same of the head, 0.002 if not given, and 0.01 where it learns alone.
    pub head_rate: Option<f64>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { steps: None, layers: Layers::Last(2), seed: 0, encoder_rate: None, head_rate: None }
    }
}

impl Settings {
    /// The most steps.
    pub const MOST_STEPS: u64 = 100_000;

    /// Optimizer steps: those that were given, or the usual ones.
    pub fn steps(&self) -> u64 {
        self.steps.unwrap_or(if self.layers == Layers::Head { 1000 } else { 100 })
    }

    /// Checks that a model of `layers` layers can learn so.
    pub(super) fn check(&self, layers: usize) -> Result<()> {
        let (steps, most) = (self.steps(), Self::MOST_STEPS);
        if !(1..=most).contains(&steps) {
            return Err(Error::invalid(format!("{steps} steps are out of range; give 1 to {most}")));
        }
        if let Layers::Last(last) = self.layers
            && !(1..=layers).contains(&last)
        {
            return Err(Error::invalid(format!(
                "the last {last} layers cannot learn, since the model has {layers}; give 1 to {layers}, head or all"
            )));
        }
        for rate in [self.encoder_rate, self.head_rate].into_iter().flatten() {
            if !(rate > 0.0 && rate <= 0.1) {
                return Err(Error::invalid(format!(
                    "a learning rate of {rate} is out of range; give one above 0 and up to 0.1"
                )));
            }
        }
        Ok(())
    }

    /// AdamW without decay: what is not told otherwise stays.
    pub(super) fn optimizer(&self) -> OptimizerConfig {
        let alone = self.layers == Layers::Head;
        OptimizerConfig {
            encoder_lr: self.encoder_rate.unwrap_or(1e-3),
            head_lr: self.head_rate.unwrap_or(if alone { 1e-2 } else { 2e-3 }),
            betas: [0.9, 0.999],
            eps: 1e-8,
            weight_decay: 0.0,
            decay_biases_and_norms: false,
            clip: 1.0,
            accumulation: 1,
            schedule: ScheduleConfig::Cosine { warmup_fraction: 0.1 },
        }
    }
}
