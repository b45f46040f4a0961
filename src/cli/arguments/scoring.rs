//! Scores of models.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::decoding::{Decoding, Search};
use super::{channel, count, number};
use crate::audio::Channel;
use crate::recipe::Target;

#[derive(Debug, Args)]
pub(in crate::cli) struct Evaluate {
    /// A model, or a run's best one
    pub model: PathBuf,
    /// Data with text, or with classes; may be repeated
    #[arg(long, required = true, value_name = "SRC")]
    pub data: Vec<PathBuf>,
    /// The channel to read of files with several, over the data's own
    #[arg(long, value_name = "N|mix", value_parser = channel)]
    pub channel: Option<Channel>,
    /// Leaves characters that are not in the vocabulary out of the references, instead of counting them as errors
    #[arg(long)]
    pub ignore_outside_vocabulary: bool,
    /// Of a verifier: which recordings of the data are compared, two and 1 or 0 a line; without it, all pairs
    #[arg(long, value_name = "FILE")]
    pub trials: Option<PathBuf>,
    /// Of a classifier: draws the confusion matrix; of a verifier: the curve of misses over false alarms
    #[arg(long, value_name = "FILE.svg")]
    pub svg: Option<PathBuf>,
    #[command(flatten)]
    pub decoding: Decoding,
    /// Prints one JSON document
    #[arg(long)]
    pub json: bool,
    /// Makes a bad file an error
    #[arg(long)]
    pub strict: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Tune {
    /// A model, or a run's best one; its decoder.json is written
    pub model: PathBuf,
    /// Data with text that was not trained on, as that of validation; may be repeated
    #[arg(long, required = true, value_name = "SRC")]
    pub data: Vec<PathBuf>,
    /// The channel to read of files with several, over the data's own
    #[arg(long, value_name = "N|mix", value_parser = channel)]
    pub channel: Option<Channel>,
    /// Weights of the language model that are tried
    #[arg(long, value_name = "A,A,…", value_delimiter = ',', allow_hyphen_values = true, value_parser = number)]
    #[arg(default_values_t = [0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0])]
    pub alpha: Vec<f64>,
    /// Scores added for each word that are tried
    #[arg(long, value_name = "B,B,…", value_delimiter = ',', allow_hyphen_values = true, value_parser = number)]
    #[arg(default_values_t = [-1.0, 0.0, 0.5, 1.0, 1.5, 2.0, 3.0])]
    pub beta: Vec<f64>,
    /// Beams that are tried with the best of them, the first for all the others
    #[arg(long, value_name = "N,N,…", value_delimiter = ',', default_values_t = [100, 25, 50, 200], value_parser = count)]
    pub beam: Vec<usize>,
    #[command(flatten)]
    pub search: Search,
    /// Writes the error rates of all that was tried as a chart
    #[arg(long, value_name = "FILE.svg")]
    pub svg: Option<PathBuf>,
    /// Prints one JSON document
    #[arg(long)]
    pub json: bool,
    /// Makes a bad file an error
    #[arg(long)]
    pub strict: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Probe {
    /// A model, or a run's best one; it is not trained
    pub model: PathBuf,
    /// Data with classes; may be repeated
    #[arg(long, required = true, value_name = "SRC")]
    pub data: Vec<PathBuf>,
    /// Data to test on; may be repeated [default: every fifth utterance of each class of --data]
    #[arg(long, value_name = "SRC")]
    pub test: Vec<PathBuf>,
    /// The field that is the class [default: that of training, else the label]
    #[arg(long, value_enum)]
    pub target: Option<Field>,
    /// Folder for probe.json and probe.svg
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
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

/// A field of a manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum Field {
    /// The field `label`
    Label,
    /// The field `speaker`
    Speaker,
    /// The field `text`
    Text,
}

impl Field {
    /// As recipes have it.
    pub fn target(self) -> Target {
        match self {
            Self::Label => Target::Label,
            Self::Speaker => Target::Speaker,
            Self::Text => Target::Text,
        }
    }
}
