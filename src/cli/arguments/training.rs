//! Training, on one device or several.

use std::path::PathBuf;

use clap::{Args, ValueEnum, value_parser};

use super::{channel, gibibytes, number};
use crate::adapt::{Layers, Settings};
use crate::audio::Channel;

#[derive(Debug, Args)]
pub(in crate::cli) struct Training {
    /// The recipe, a TOML file
    #[arg(value_name = "RECIPE.toml")]
    pub recipe: PathBuf,
    /// Training data: manifests, archives, folders of audio; may be repeated
    #[arg(long, required = true, value_name = "SRC")]
    pub data: Vec<PathBuf>,
    /// Folder of the run
    #[arg(long, value_name = "RUN")]
    pub out: PathBuf,
    /// Goes on from the run's last checkpoint
    #[arg(long)]
    pub resume: bool,
    /// Goes on with other training data than the run was begun with
    #[arg(long, requires = "resume")]
    pub other_data: bool,
    /// The channel to read of files with several, over the data's own
    #[arg(long, value_name = "N|mix", value_parser = channel)]
    pub channel: Option<Channel>,
    /// Makes a bad file an error
    #[arg(long)]
    pub strict: bool,
    /// Makes batches as large as the device holds, over the recipe's batch_seconds or batch_utterances
    #[arg(long)]
    pub fit: bool,
    /// GiB that each device may hold where batches are as large as fit [default: nine tenths of the free memory]
    #[arg(long, value_name = "GIB", value_parser = gibibytes)]
    pub memory_limit: Option<f64>,
    /// Does not measure which kernels are the fastest before the first run on a GPU
    #[arg(long)]
    pub no_tune: bool,
    #[command(flatten)]
    pub several: Several,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Several devices")]
pub(in crate::cli) struct Several {
    /// Trains on several devices at once, a thread each: such as `0,1`, or `all` of the best kind; `0,0` is one twice
    #[arg(long, value_name = "DEVICE,...|all", conflicts_with = "device")]
    pub devices: Option<String>,
    /// Format of gradients between devices: f16 takes half the time and has three decimal digits
    #[arg(long, value_enum, default_value_t = Exchange::F32)]
    pub exchange: Exchange,
    /// Seconds for which a device or machine may be silent before the run ends
    #[arg(long, value_name = "SECONDS", default_value_t = 600, value_parser = value_parser!(u64).range(1..=31_536_000))]
    pub time_limit: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum Exchange {
    /// As they are
    F32,
    /// As f16, scaled so that none overflows, summed in f32
    F16,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Pretrain {
    #[command(flatten)]
    pub training: Training,
    /// Validation data; may be repeated
    #[arg(long, value_name = "SRC")]
    pub valid: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Finetune {
    #[command(flatten)]
    pub training: Training,
    /// Validation data; may be repeated
    #[arg(long, required = true, value_name = "SRC")]
    pub valid: Vec<PathBuf>,
    /// A pre-trained run or model to start from; without it the model starts from scratch
    #[arg(long, value_name = "RUN|MODEL")]
    pub init: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Adapt {
    /// A recognizer, or with --labels any model, or a run's best one; it stays as it is
    pub model: PathBuf,
    /// Takes with text, several of each word or phrase; may be repeated. Some are held out to measure whether it helps
    #[arg(long, required = true, value_name = "SRC")]
    pub data: Vec<PathBuf>,
    /// Trains on the takes' labels instead of texts: the new model is a classifier
    #[arg(long)]
    pub labels: bool,
    /// Folder of the new model; it has the old weights where the held-out takes are not recognized better
    #[arg(long, value_name = "MODEL")]
    pub out: PathBuf,
    /// Optimizer steps, of up to eight takes each; 1000 with `--layers head`, else 100
    #[arg(long, value_name = "N", value_parser = value_parser!(u64).range(1..=Settings::MOST_STEPS))]
    pub steps: Option<u64>,
    /// Trainable layers: the head, the head and so many of the last layers, or all
    #[arg(long, default_value = "2", value_name = "head|N|all")]
    pub layers: Layers,
    /// Highest learning rate of the encoder's layers [default: 0.001]
    #[arg(long, value_name = "X", value_parser = number)]
    pub encoder_rate: Option<f64>,
    /// Highest learning rate of the head [default: 0.002, and 0.01 if it is trained alone]
    #[arg(long, value_name = "X", value_parser = number)]
    pub head_rate: Option<f64>,
    /// The channel to read of files with several, over the data's own
    #[arg(long, value_name = "N|mix", value_parser = channel)]
    pub channel: Option<Channel>,
    /// Prints one JSON document
    #[arg(long)]
    pub json: bool,
    /// Makes a bad file an error
    #[arg(long)]
    pub strict: bool,
}
