//! Models applied to audio.

use std::path::PathBuf;

use clap::{Args, ValueEnum, value_parser};

use super::decoding::Decoding;
use super::{channel, count};
use crate::audio::Channel;
use crate::models::Endpointing;

#[derive(Debug, Args)]
pub(in crate::cli) struct Align {
    /// A model, or a run's best one
    pub model: PathBuf,
    /// An audio file, or `-` for standard input
    pub audio: PathBuf,
    /// Its text: a text file, or the text itself
    pub text: String,
    /// Output format
    #[arg(long, value_enum, default_value_t = AlignFormat::Json)]
    pub format: AlignFormat,
    /// The channel to read of a file with several
    #[arg(long, value_name = "N|mix", value_parser = channel)]
    pub channel: Option<Channel>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum AlignFormat {
    /// One document with the words' times and confidence
    Json,
    /// A tier of words for Praat
    Textgrid,
    /// SubRip subtitles
    Srt,
    /// WebVTT subtitles
    Vtt,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Transcribe {
    /// A model, or a run's best one
    pub model: PathBuf,
    /// Audio files of any name, `-` for standard input, manifests, folders of audio
    #[arg(required = true)]
    pub audio: Vec<PathBuf>,
    /// Output format
    #[arg(long, value_enum, default_value_t = Format::Txt)]
    pub format: Format,
    /// Prints one JSON document, with the words' times and confidence: --format json
    #[arg(long, conflicts_with = "format")]
    pub json: bool,
    /// Writes a file a recording to this folder instead, in place of any of its name
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// The channel to read of files with several, over a manifest's own
    #[arg(long, value_name = "N|mix", value_parser = channel)]
    pub channel: Option<Channel>,
    /// Stops at the first bad file
    #[arg(long)]
    pub strict: bool,
    /// Reads the audio chunk by chunk, as from a microphone, with a model trained for it (model.causal_chunk)
    #[arg(long)]
    pub stream: bool,
    /// Milliseconds of a chunk, a multiple of 40; by default those of training
    #[arg(long, value_name = "N", requires = "stream", value_parser = chunk_milliseconds)]
    pub chunk_ms: Option<usize>,
    #[command(flatten)]
    pub endpoint: Endpoint,
    #[command(flatten)]
    pub decoding: Decoding,
    /// Texts that are shown of each recording, the best one first
    #[arg(long, default_value = "1", value_name = "N", value_parser = count)]
    pub n_best: usize,
}

/// When a stream's sentences end.
#[derive(Debug, Args)]
pub(in crate::cli) struct Endpoint {
    /// Ends sentences at pauses, each with its times, as soon as it is over; memory does not grow with the length of the audio
    #[arg(long, requires = "stream", conflicts_with = "n_best")]
    endpoint: bool,
    /// Milliseconds without a word that end a sentence, where they are quiet; three times as long where they are not
    #[arg(long, value_name = "N", default_value_t = 600, requires = "endpoint", value_parser = value_parser!(u32).range(40..=60_000))]
    pause_ms: u32,
    /// Decibels from which on a pause is quiet, below the loudest of its sentence
    #[arg(long, value_name = "N", default_value_t = 12, requires = "endpoint", value_parser = value_parser!(u32).range(..=100))]
    quiet_db: u32,
    /// Seconds after which a sentence ends at the first frame without a word
    #[arg(long, value_name = "N", default_value_t = 20, requires = "endpoint", value_parser = value_parser!(u32).range(1..=3600))]
    longest: u32,
}

impl Endpoint {
    /// The rule, where sentences are asked for.
    pub(in crate::cli) fn rule(&self) -> Option<Endpointing> {
        let rule = Endpointing {
            pause: f64::from(self.pause_ms) * 1e-3,
            quiet_db: f64::from(self.quiet_db),
            longest: f64::from(self.longest),
        };
        self.endpoint.then_some(rule)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum Format {
    /// A line a recording: its name, a tab, the words
    Txt,
    /// One document with the words' times and confidence
    Json,
    /// SubRip subtitles
    Srt,
    /// WebVTT subtitles
    Vtt,
}

fn chunk_milliseconds(text: &str) -> std::result::Result<usize, String> {
    match text.parse::<usize>() {
        Ok(milliseconds) if (40..=40_000).contains(&milliseconds) && milliseconds % 40 == 0 => {
            Ok(milliseconds)
        }
        _ => Err("give a multiple of 40 (one encoder frame) from 40 to 40000".to_owned()),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum PaddingForm {
    /// Padded frames are masked: an utterance's output is the same alone and in any batch
    Masked,
    /// Padded frames as in the published implementation
    Reference,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Encode {
    /// A model, or a run's best one
    pub model: PathBuf,
    /// Audio files of any name, `-` for standard input, manifests, folders of audio
    #[arg(required = true)]
    pub audio: Vec<PathBuf>,
    /// The file to write; of each audio file `<stem>.features`, `.frontend`, `.layer.<i>`, `.encoder`, `.logits`
    #[arg(long, value_name = "FILE.safetensors")]
    pub out: PathBuf,
    /// Files that are padded together
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = value_parser!(u32).range(1..))]
    pub batch: u32,
    /// Treatment of padded frames, if not that of training
    #[arg(long, value_enum, value_name = "masked|reference")]
    pub padding: Option<PaddingForm>,
    /// The channel to read of files with several, over a manifest's own
    #[arg(long, value_name = "N|mix", value_parser = channel)]
    pub channel: Option<Channel>,
    /// Stops at the first bad file, and writes nothing then
    #[arg(long)]
    pub strict: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Embed {
    /// A model of task "verify", or a run's best one
    pub model: PathBuf,
    /// Audio files of any name, `-` for standard input, manifests, folders of audio
    #[arg(required = true)]
    pub audio: Vec<PathBuf>,
    /// The file to write; of each audio file `<stem>.embedding` [1, width], of length 1
    #[arg(long, value_name = "FILE.safetensors")]
    pub out: PathBuf,
    /// The channel to read of files with several, over a manifest's own
    #[arg(long, value_name = "N|mix", value_parser = channel)]
    pub channel: Option<Channel>,
    /// Stops at the first bad file, and writes nothing then
    #[arg(long)]
    pub strict: bool,
}
