//! Data, before it is trained on.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::channel;
use crate::audio::Channel;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Data {
    /// Hears everything once: hours, lengths, formats, alphabet, and what is wrong with it
    Check(DataCheck),
    /// Writes any data as JSON lines with 16 kHz FLAC files
    Convert(DataConvert),
}

#[derive(Debug, Args)]
pub(in crate::cli) struct DataCheck {
    /// Manifests, folders or archives
    #[arg(required = true, value_name = "SRC")]
    pub sources: Vec<PathBuf>,
    /// The channel to hear of files with several, over the data's own
    #[arg(long, value_name = "N|mix", value_parser = channel)]
    pub channel: Option<Channel>,
    /// Prints one JSON document
    #[arg(long)]
    pub json: bool,
    /// Writes a histogram of the lengths
    #[arg(long, value_name = "FILE.svg")]
    pub svg: Option<PathBuf>,
    /// Fails where something is wrong
    #[arg(long)]
    pub strict: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct DataConvert {
    /// Manifests, folders or archives
    #[arg(required = true, value_name = "SRC")]
    pub sources: Vec<PathBuf>,
    /// Folder for manifest.jsonl and audio/; what an earlier run has written there is kept
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// The channel to hear of files with several, over the data's own
    #[arg(long, value_name = "N|mix", value_parser = channel)]
    pub channel: Option<Channel>,
    /// Prints one JSON document
    #[arg(long)]
    pub json: bool,
    /// Makes a bad file an error
    #[arg(long)]
    pub strict: bool,
}
