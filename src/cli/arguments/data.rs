//! Data, before it is trained on.

use std::path::PathBuf;

use clap::{Args, Subcommand, value_parser};

use super::channel;
use crate::audio::Channel;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Data {
    /// Reads everything once: hours, lengths, formats, alphabet, and defects
    Check(DataCheck),
    /// Writes any data as JSON lines with 16 kHz FLAC files
    Convert(DataConvert),
    /// Writes any data as tar archives, which are read in sequence, with an index of every recording's place
    Pack(DataPack),
    /// Times reading, decoding, resampling and feature extraction
    Bench(DataBench),
}

#[derive(Debug, Args)]
pub(in crate::cli) struct DataCheck {
    /// Manifests, folders or archives
    #[arg(required = true, value_name = "SRC")]
    pub sources: Vec<PathBuf>,
    /// The channel to read of files with several, over the data's own
    #[arg(long, value_name = "N|mix", value_parser = channel)]
    pub channel: Option<Channel>,
    /// Prints one JSON document
    #[arg(long)]
    pub json: bool,
    /// Writes a histogram of the lengths
    #[arg(long, value_name = "FILE.svg")]
    pub svg: Option<PathBuf>,
    /// Fails if there are defects
    #[arg(long)]
    pub strict: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct DataConvert {
    /// Manifests, folders or archives
    #[arg(required = true, value_name = "SRC")]
    pub sources: Vec<PathBuf>,
    /// Folder for manifest.jsonl and audio/; files of an earlier run are kept
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

#[derive(Debug, Args)]
pub(in crate::cli) struct DataPack {
    /// Manifests, folders or archives
    #[arg(required = true, value_name = "SRC")]
    pub sources: Vec<PathBuf>,
    /// Folder for shards.jsonl and audio_<n>.tar; it is absent or empty
    #[arg(long, value_name = "SHARDS")]
    pub out: PathBuf,
    /// Size of an archive, in MB of 1 000 000 bytes
    #[arg(long, value_name = "MB", default_value_t = 512, value_parser = value_parser!(u64).range(1..=1_000_000))]
    pub shard_mb: u64,
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

#[derive(Debug, Args)]
pub(in crate::cli) struct DataBench {
    /// Manifests, folders or archives
    #[arg(required = true, value_name = "SRC")]
    pub sources: Vec<PathBuf>,
    /// Minutes of audio of each format that are timed
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = value_parser!(u64).range(1..=10_000))]
    pub minutes: u64,
    /// Threads that make batches; all cores but one if not given
    #[arg(long, value_name = "N", value_parser = threads)]
    pub threads: Option<usize>,
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

/// A number of threads.
fn threads(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(threads @ 1..=256) => Ok(threads),
        _ => Err("give a number from 1 to 256".to_owned()),
    }
}
