//! Arguments of the command line.

mod data;
mod decoding;
mod inference;
mod measuring;
mod models;
mod scoring;
mod training;

use clap::{Args, Parser, Subcommand, value_parser};

use crate::audio::Channel;

pub(super) use data::{Data, DataBench, DataCheck, DataConvert, DataPack};
pub(super) use decoding::{Decode, Decoder, Decoding, Lm, LmBuild, LmInfo, LmTrain, Search};
pub(super) use inference::{Align, AlignFormat, Embed, Encode, Format, PaddingForm, Transcribe};
pub(super) use measuring::{Check, Demo, Devices, Profile, TuneDevice};
pub(super) use models::{Convert, Import, ImportSpeechbrain, Info, TensorType};
pub(super) use scoring::{Evaluate, Field, Probe, Tune};
pub(super) use training::{Adapt, Exchange, Finetune, Pretrain, Several, Training};

/// Speech encoders on any GPU: pre-train, fine-tune, score, transcribe.
#[derive(Debug, Parser)]
#[command(name = "polymix", version, arg_required_else_help = true)]
pub(super) struct Arguments {
    #[command(subcommand)]
    pub command: Command,
    #[command(flatten)]
    pub global: Global,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Everywhere")]
pub(super) struct Global {
    /// `auto`, an index of `polymix devices`, or a part of "<backend> <adapter's name>"
    #[arg(long, global = true, default_value = "auto", value_name = "DEVICE")]
    pub device: String,
    /// Sets a value over the recipe's; may be repeated
    #[arg(long = "set", global = true, value_name = "TABLE.KEY=VALUE")]
    pub settings: Vec<String>,
    /// Stops after this many optimizer steps
    #[arg(long, global = true, value_name = "N", value_parser = value_parser!(u64).range(1..))]
    pub limit_steps: Option<u64>,
    /// Seed of everything random, over the recipe's run.seed
    #[arg(long, global = true, value_name = "N")]
    pub seed: Option<u32>,
    /// Results and errors only
    #[arg(long, short, global = true)]
    pub quiet: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Pre-trains, fine-tunes, scores and transcribes, in minutes, on speech that comes with the project
    Demo(Demo),
    /// Lists adapters, their limits and features, and which one is used
    Devices(Devices),
    /// The adapter's kernels against the reference, and their rates; fails if one is wrong
    Check(Check),
    /// Measures which of an adapter's kernels are the fastest, and keeps them where they are 15 % faster than the rules'
    TuneDevice(TuneDevice),
    /// Pre-trains an encoder with BEST-RQ on speech without text
    Pretrain(Pretrain),
    /// Trains a recognizer on speech with text, or a classifier or speaker model
    Finetune(Finetune),
    /// Adapts a model to a few words or phrases, by takes of each
    Adapt(Adapt),
    /// Scores a model: error rates of a recognizer, accuracy of a classifier, equal error rate of a verifier, with 95 % intervals
    Evaluate(Evaluate),
    /// Finds the weights of a language model on data with text, and writes them beside the model
    Tune(Tune),
    /// Transcribes audio files
    Transcribe(Transcribe),
    /// Aligns a known text: finds the times of its words
    Align(Align),
    /// Writes features, every layer's output and logits of audio files to a safetensors file
    Encode(Encode),
    /// Writes the embedding of each audio file to a safetensors file, by which speakers are compared
    Embed(Embed),
    /// Trains linear probes on each layer of a model and their weighted sum
    Probe(Probe),
    /// Time and memory of models by the length of the audio, and time by kernel
    Profile(Profile),
    /// Describes a model: configuration, parameters, vocabulary, preprocessing
    Info(Info),
    /// Writes a model with its tensors in another type
    Convert(Convert),
    /// Imports a checkpoint of another toolkit
    #[command(subcommand)]
    Import(Import),
    /// Checks, converts, packs and times data
    #[command(subcommand)]
    Data(Data),
    /// Decodes log-probabilities from any source
    Decode(Decode),
    /// Makes and describes language models
    #[command(subcommand)]
    Lm(Lm),
}

/// A channel of a file, from 1 on, or the mean of all.
fn channel(text: &str) -> std::result::Result<Channel, String> {
    match text {
        "mix" => Ok(Channel::Mix),
        _ => match text.parse() {
            Ok(number) if number > 0 => Ok(Channel::Only(number)),
            _ => Err("give a channel's number, from 1 on, or mix".to_owned()),
        },
    }
}

/// A number of something.
fn count(text: &str) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|count| (1..=65_536).contains(count))
        .ok_or("give a whole number from 1 to 65536".into())
}

/// Seconds.
fn length(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|s| (0.1..=86_400.0).contains(s)).ok_or("give seconds from 0.1 to 86400".into())
}

/// An amount of memory.
fn gibibytes(text: &str) -> Result<f64, String> {
    let range = 0.001..=1e6;
    text.parse().ok().filter(|gib| range.contains(gib)).ok_or("give GiB from 0.001 to 1000000".into())
}

impl Global {
    /// The settings over the recipe's values, `--seed` the last of them.
    pub fn overrides(&self) -> Vec<String> {
        let seed = self.seed.map(|seed| format!("run.seed={seed}"));
        self.settings.iter().cloned().chain(seed).collect()
    }

    /// Checks the values for a recipe, where no recipe is read.
    ///
    /// # Errors
    /// When a value is of no key, or out of range.
    pub fn check_settings(&self) -> crate::error::Result<()> {
        crate::recipe::Recipe::parse("--set", "", &self.settings).map(drop)
    }

    /// Says so where values were given that only training reads.
    pub fn note_without_recipe(&self, command: &str) {
        if !self.quiet && (!self.settings.is_empty() || self.limit_steps.is_some()) {
            super::output::note(format!(
                "{command} reads no recipe; --set and --limit-steps change nothing here"
            ));
        }
    }
}

/// A number that is none of infinity and NaN.
fn number(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|number: &f64| number.is_finite()).ok_or("give a number".into())
}
