//! Log-probabilities to text, and language models.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::{count, number};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum Decoder {
    /// The most probable token of each frame
    Greedy,
    /// Beam search, with a language model and hot words if given
    Beam,
}

/// Options of decoding.
#[derive(Debug, Args)]
#[command(next_help_heading = "Decoding")]
pub(in crate::cli) struct Decoding {
    /// The most probable token of each frame, or the best of many texts [default: beam where an option of it is given,
    /// else what the model's decoder.json says, else greedy]
    #[arg(long, value_enum)]
    pub decoder: Option<Decoder>,
    /// Texts that are kept after each frame [default: 200]
    #[arg(long, value_name = "N", value_parser = count)]
    pub beam: Option<usize>,
    /// Weight of the language model [default: 0.8]
    #[arg(long, value_name = "A", allow_hyphen_values = true, value_parser = number)]
    pub alpha: Option<f64>,
    /// Added for each word, with a language model [default: 1.2]
    #[arg(long, value_name = "B", allow_hyphen_values = true, value_parser = number)]
    pub beta: Option<f64>,
    #[command(flatten)]
    pub search: Search,
}

/// Options that `polymix tune` does not search.
#[derive(Debug, Args)]
#[command(next_help_heading = "Decoding")]
pub(in crate::cli) struct Search {
    /// A language model: one of `polymix lm`, or an ARPA file, plain or gzip
    #[arg(long, value_name = "LM")]
    pub lm: Option<PathBuf>,
    /// Drops texts whose score is that far below the best one's [default: -10]
    #[arg(long, value_name = "X", allow_hyphen_values = true, value_parser = number)]
    pub beam_prune: Option<f64>,
    /// Drops tokens with a log-probability below this, but the best of each frame [default: -5]
    #[arg(long, value_name = "X", allow_hyphen_values = true, value_parser = number)]
    pub token_prune: Option<f64>,
    /// Of texts that end alike, as far as the language model sees, keeps only the best
    #[arg(long, value_name = "true|false", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub prune_history: Option<bool>,
    /// Added for an unknown word, with a language model [default: -10]
    #[arg(long, value_name = "X", allow_hyphen_values = true, value_parser = number)]
    pub unknown: Option<f64>,
    /// Whether the language model scores the text from the beginning to the end of a sentence [default: true]
    #[arg(long, value_name = "true|false")]
    pub score_boundary: Option<bool>,
    /// The known words, one a line; without it those of the language model
    #[arg(long, value_name = "FILE")]
    pub words: Option<PathBuf>,
    /// Hot words, one a line, optionally followed by a weight
    #[arg(long, value_name = "FILE")]
    pub hot_words: Option<PathBuf>,
    /// Added for each hot word without a weight of its own [default: 10]
    #[arg(long, value_name = "X", allow_hyphen_values = true, value_parser = number)]
    pub hot_word_weight: Option<f64>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Decode {
    /// Log-probabilities: every f32 tensor [frames, tokens]
    #[arg(value_name = "EMISSIONS.safetensors")]
    pub emissions: PathBuf,
    /// The tokens, blank first, as a model's vocab.json has them; sub-words with ▁ where a word begins
    #[arg(long, value_name = "VOCAB.json")]
    pub vocab: PathBuf,
    #[command(flatten)]
    pub decoding: Decoding,
    /// Texts that are shown, the best one first
    #[arg(long, default_value = "1", value_name = "N", value_parser = count)]
    pub n_best: usize,
    /// Prints one JSON document, with the words' frames
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Lm {
    /// Converts an ARPA file to a small format that opens at once
    Build(LmBuild),
    /// Trains a language model on text, by interpolated modified Kneser-Ney
    Train(LmTrain),
    /// Describes a language model, and checks it whole
    Info(LmInfo),
}

#[derive(Debug, Args)]
pub(in crate::cli) struct LmBuild {
    /// The ARPA file, plain or gzip
    #[arg(value_name = "ARPA[.gz]")]
    pub arpa: PathBuf,
    /// The file to write; as ARPA where it ends in .arpa
    #[arg(long, value_name = "LM")]
    pub out: PathBuf,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct LmTrain {
    /// Text, a sentence a line, plain or gzip
    #[arg(required = true, value_name = "TEXT")]
    pub text: Vec<PathBuf>,
    /// Words of the longest n-grams, from 1 to 6
    #[arg(long, default_value_t = 4, value_name = "N")]
    pub order: usize,
    /// The file to write; as ARPA where it ends in .arpa
    #[arg(long, value_name = "LM")]
    pub out: PathBuf,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct LmInfo {
    /// A model of `polymix lm`, or an ARPA file, plain or gzip
    pub lm: PathBuf,
    /// Prints one JSON document
    #[arg(long)]
    pub json: bool,
}
