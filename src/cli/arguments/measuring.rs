//! Devices, their time and memory, and the demo.

use std::path::PathBuf;

use clap::builder::PossibleValue;
use clap::{Args, ValueEnum};

use super::{count, length};
use crate::profile::Workload;
use crate::recipe::MixerKind;

#[derive(Debug, Args)]
pub(in crate::cli) struct Demo {
    /// Folder for the demo's runs
    #[arg(long, default_value = "target/demo", value_name = "DIR")]
    pub out: PathBuf,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Devices {
    /// Prints one JSON document
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Check {
    /// Only what the adapter would choose, at small shapes, within two minutes; as slow adapters are checked anyway
    #[arg(long)]
    pub quick: bool,
    /// Every variant that the adapter can run and large shapes, however slow it is
    #[arg(long, conflicts_with = "quick")]
    pub full: bool,
    /// These operations alone; findings are not kept then
    #[arg(long, value_delimiter = ',', value_name = "OP,OP,…")]
    pub ops: Vec<String>,
    /// Writes the full report, to send in
    #[arg(long, value_name = "FILE.json")]
    pub report: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct TuneDevice {
    /// Begins nothing that would end later than this
    #[arg(long, default_value = "60", value_name = "S", value_parser = length)]
    pub seconds: f64,
    /// These operations alone: matmul, weight_gradient, attention, layer_norm, softmax
    #[arg(long, value_delimiter = ',', value_name = "OP,OP,…")]
    pub ops: Vec<String>,
    /// Goes back to the static rules instead of measuring
    #[arg(long, conflicts_with_all = ["seconds", "ops"])]
    pub forget: bool,
    /// Prints one JSON document
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Profile {
    /// Profiles the model of this recipe; without it, the paper's base models
    #[arg(value_name = "RECIPE.toml")]
    pub recipe: Option<PathBuf>,
    /// Mixers, each in every layer [default: the recipe's own, or those of the paper's figure]
    #[arg(long, value_delimiter = ',', value_name = "A,B,…")]
    pub mixers: Vec<MixerKind>,
    /// Seconds of every utterance
    #[arg(long, value_delimiter = ',', default_value = "10,20,40,60,80", value_name = "S,S,…")]
    #[arg(value_parser = length)]
    pub seconds: Vec<f64>,
    /// Utterances in a batch
    #[arg(long, default_value = "1", value_name = "N", value_parser = count)]
    pub batch: usize,
    /// Workload of a run
    #[arg(long, value_enum, default_value_t = Workload::Infer)]
    pub mode: Workload,
    /// Folder for profile.csv, profile.json and profile.svg
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Operations and memory from the plans alone; nothing runs, and no adapter is needed
    #[arg(long)]
    pub dry_run: bool,
    /// Timed runs of each model and length
    #[arg(long, default_value = "5", value_name = "N", value_parser = count)]
    pub repeat: usize,
    /// Leaves out runs that do not fit into this time
    #[arg(long, default_value = "900", value_name = "S", value_parser = length)]
    pub budget_seconds: f64,
    /// Time by kernel, with operations and bytes a second
    #[arg(long, conflicts_with = "dry_run")]
    pub kernels: bool,
    /// Models the time on this card: h100, rtx4090, rx7900xtx, arc-b580, m4-max, or a TOML file. With --dry-run plans for
    /// it, without an adapter; without, shows measured kernels beside it
    #[arg(long, value_name = "NAME|FILE")]
    pub gpu: Option<String>,
    /// Models a training step of so many ranks, each with such a card and batch
    #[arg(long, requires = "gpu", requires = "link", value_name = "N", value_parser = count)]
    pub ranks: Option<usize>,
    /// Bandwidth between ranks, in 10⁹ bytes a second
    #[arg(long, requires = "ranks", value_name = "GBPS", value_parser = link)]
    pub link: Option<f64>,
    /// Writes every dispatch and what it binds to stderr
    #[arg(long, requires = "dry_run")]
    pub plan: bool,
    /// Prints one JSON document
    #[arg(long)]
    pub json: bool,
}

/// Bytes a second, in 10⁹.
fn link(text: &str) -> Result<f64, String> {
    let range = 0.001..=1e6;
    text.parse()
        .ok()
        .filter(|rate| range.contains(rate))
        .ok_or("give 10⁹ bytes a second from 0.001 to 1000000".into())
}

impl ValueEnum for Workload {
    fn value_variants<'a>() -> &'a [Self] {
        &Self::ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let help = match self {
            Self::Infer => "Forward of front-end and encoder in inference mode",
            Self::Forward => {
                "Forward of the BEST-RQ loss in training mode; nothing is kept for a backward pass"
            }
            Self::Train => "Forward and backward of the BEST-RQ loss",
            Self::Finetune => "Forward and backward of the CTC loss",
        };
        Some(PossibleValue::new(self.name()).help(help))
    }
}
