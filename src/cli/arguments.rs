//! What a user types.

use std::path::PathBuf;

use clap::builder::PossibleValue;
use clap::{Args, Parser, Subcommand, ValueEnum, value_parser};

use crate::audio::Channel;
use crate::profile::Workload;
use crate::recipe::MixerKind;

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
    /// Pre-trains an encoder with BEST-RQ on speech without text
    Pretrain(Pretrain),
    /// Trains a CTC recognizer on speech with text
    Finetune(Finetune),
    /// Word and character error rates with 95 % intervals
    Evaluate(Evaluate),
    /// Finds the weights of a language model on data with text, and writes them beside the model
    Tune(Tune),
    /// Writes down what is said in audio files
    Transcribe(Transcribe),
    /// Finds the times of words whose text is known
    Align(Align),
    /// Writes features, every layer's output and logits of audio files to a safetensors file
    Encode(Encode),
    /// Time and memory of models by the length of the audio, and time by kernel
    Profile(Profile),
    /// Describes a model: configuration, parameters, vocabulary, preprocessing
    Info(Info),
    /// Writes a model with its tensors in another type
    Convert(Convert),
    /// Makes a model of another toolkit's checkpoint
    #[command(subcommand)]
    Import(Import),
    /// Looks into data, and writes it in another form
    #[command(subcommand)]
    Data(Data),
    /// Writes down what log-probabilities say, whoever computed them
    Decode(Decode),
    /// Makes and describes language models
    #[command(subcommand)]
    Lm(Lm),
}

#[derive(Debug, Args)]
pub(super) struct Demo {
    /// Folder for the demo's runs
    #[arg(long, default_value = "target/demo", value_name = "DIR")]
    pub out: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct Devices {
    /// Prints one JSON document
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub(super) struct Training {
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
    /// The channel to hear of files with several, over the data's own
    #[arg(long, value_name = "N|mix", value_parser = channel)]
    pub channel: Option<Channel>,
    /// Makes a bad file an error
    #[arg(long)]
    pub strict: bool,
    #[command(flatten)]
    pub several: Several,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Several devices")]
pub(super) struct Several {
    /// Trains on several devices at once, a thread each: such as `0,1`, or `all` of the best kind; `0,0` is one twice
    #[arg(long, value_name = "DEVICE,...|all", conflicts_with = "device")]
    pub devices: Option<String>,
    /// The form of gradients between devices: halves take half the time and have three decimal digits
    #[arg(long, value_enum, default_value_t = Exchange::F32)]
    pub exchange: Exchange,
    /// Seconds for which a device or machine may be silent before the run ends
    #[arg(long, value_name = "SECONDS", default_value_t = 600, value_parser = value_parser!(u64).range(1..=31_536_000))]
    pub time_limit: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Exchange {
    /// As they are
    F32,
    /// As halves, scaled so that none overflows, summed in f32
    F16,
}

#[derive(Debug, Args)]
pub(super) struct Pretrain {
    #[command(flatten)]
    pub training: Training,
    /// Validation data; may be repeated
    #[arg(long, value_name = "SRC")]
    pub valid: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct Finetune {
    #[command(flatten)]
    pub training: Training,
    /// Validation data; may be repeated
    #[arg(long, required = true, value_name = "SRC")]
    pub valid: Vec<PathBuf>,
    /// A pre-trained run or model to start from; without it the model starts from scratch
    #[arg(long, value_name = "RUN|MODEL")]
    pub init: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Decoder {
    /// The most probable token of each frame
    Greedy,
    /// The best of many texts, with a language model and hot words where they are given
    Beam,
}

#[derive(Debug, Args)]
pub(super) struct Evaluate {
    /// A model, or a run's best one
    pub model: PathBuf,
    /// Data with text; may be repeated
    #[arg(long, required = true, value_name = "SRC")]
    pub data: Vec<PathBuf>,
    /// The channel to hear of files with several, over the data's own
    #[arg(long, value_name = "N|mix", value_parser = channel)]
    pub channel: Option<Channel>,
    /// Leaves characters that the model cannot write out of the references, instead of counting them as errors
    #[arg(long)]
    pub ignore_outside_vocabulary: bool,
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
pub(super) struct Tune {
    /// A model, or a run's best one; its decoder.json is written
    pub model: PathBuf,
    /// Data with text that was not trained on, as that of validation; may be repeated
    #[arg(long, required = true, value_name = "SRC")]
    pub data: Vec<PathBuf>,
    /// The channel to hear of files with several, over the data's own
    #[arg(long, value_name = "N|mix", value_parser = channel)]
    pub channel: Option<Channel>,
    /// Weights of the language model that are tried
    #[arg(long, value_name = "A,A,…", value_delimiter = ',', allow_hyphen_values = true, value_parser = number)]
    #[arg(default_values_t = [0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0])]
    pub alpha: Vec<f64>,
    /// What is added for each word, as it is tried
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
pub(super) struct Align {
    /// A model, or a run's best one
    pub model: PathBuf,
    /// An audio file, or `-` for standard input
    pub audio: PathBuf,
    /// What is said in it: a text file, or the text itself
    pub text: String,
    /// What is written
    #[arg(long, value_enum, default_value_t = AlignFormat::Json)]
    pub format: AlignFormat,
    /// The channel to hear of a file with several
    #[arg(long, value_name = "N|mix", value_parser = channel)]
    pub channel: Option<Channel>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum AlignFormat {
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
pub(super) struct Transcribe {
    /// A model, or a run's best one
    pub model: PathBuf,
    /// Audio files of any name, `-` for standard input, manifests, folders of audio
    #[arg(required = true)]
    pub audio: Vec<PathBuf>,
    /// What is written
    #[arg(long, value_enum, default_value_t = Format::Txt)]
    pub format: Format,
    /// Prints one JSON document, with the words' times and confidence: --format json
    #[arg(long, conflicts_with = "format")]
    pub json: bool,
    /// Writes a file a recording to this folder instead, in place of any of its name
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// The channel to hear of files with several, over a manifest's own
    #[arg(long, value_name = "N|mix", value_parser = channel)]
    pub channel: Option<Channel>,
    /// Stops at the first bad file
    #[arg(long)]
    pub strict: bool,
    /// Hears the audio chunk by chunk, as from a microphone, with a model trained for it (model.causal_chunk)
    #[arg(long)]
    pub stream: bool,
    /// Milliseconds of a chunk, a multiple of 40; by default those of training
    #[arg(long, value_name = "N", requires = "stream", value_parser = chunk_milliseconds)]
    pub chunk_ms: Option<usize>,
    #[command(flatten)]
    pub decoding: Decoding,
    /// Texts that are shown of each recording, the best one first
    #[arg(long, default_value = "1", value_name = "N", value_parser = count)]
    pub n_best: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// A line a recording: its name, a tab, the words
    Txt,
    /// One document with the words' times and confidence
    Json,
    /// SubRip subtitles
    Srt,
    /// WebVTT subtitles
    Vtt,
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

fn chunk_milliseconds(text: &str) -> std::result::Result<usize, String> {
    match text.parse::<usize>() {
        Ok(milliseconds) if (40..=40_000).contains(&milliseconds) && milliseconds % 40 == 0 => {
            Ok(milliseconds)
        }
        _ => Err("give a multiple of 40 (one encoder frame) from 40 to 40000".to_owned()),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum PaddingForm {
    /// Padded frames do nothing: an utterance's output is the same alone and in any batch
    Masked,
    /// Padded frames do what they do in the published implementation
    Reference,
}

#[derive(Debug, Args)]
pub(super) struct Encode {
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
    /// What padded frames do, if not what they did in training
    #[arg(long, value_enum, value_name = "masked|reference")]
    pub padding: Option<PaddingForm>,
    /// The channel to hear of files with several, over a manifest's own
    #[arg(long, value_name = "N|mix", value_parser = channel)]
    pub channel: Option<Channel>,
    /// Stops at the first bad file, and writes nothing then
    #[arg(long)]
    pub strict: bool,
}

#[derive(Debug, Args)]
pub(super) struct Profile {
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
    /// What a run computes
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
    /// Leaves out what does not fit into this time
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
    /// What joins the ranks, in 10⁹ bytes a second
    #[arg(long, requires = "ranks", value_name = "GBPS", value_parser = link)]
    pub link: Option<f64>,
    /// Writes every dispatch and what it binds to stderr
    #[arg(long, requires = "dry_run")]
    pub plan: bool,
    /// Prints one JSON document
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub(super) struct Info {
    /// A model, or a run's best one
    pub model: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct Convert {
    /// A model, or a run's best one
    pub model: PathBuf,
    /// The type of the tensors
    #[arg(long, value_enum, value_name = "f16|f32")]
    pub dtype: TensorType,
    /// Folder of the new model
    #[arg(long, value_name = "MODEL")]
    pub out: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum TensorType {
    /// Half the bytes, three decimal digits
    F16,
    /// What training computes in
    F32,
}

#[derive(Debug, Subcommand)]
pub(super) enum Import {
    /// A BEST-RQ checkpoint of SpeechBrain, pre-trained or fine-tuned
    Speechbrain(ImportSpeechbrain),
}

#[derive(Debug, Args)]
pub(super) struct ImportSpeechbrain {
    /// The tensors under their `state_dict` names
    #[arg(value_name = "WEIGHTS.safetensors")]
    pub weights: PathBuf,
    /// The recipe's values, a flat JSON object
    #[arg(value_name = "HPARAMS.json")]
    pub hyper_parameters: PathBuf,
    /// Tokens of a fine-tuned model: its label_encoder.txt, SentencePiece model or tokenizer.json; by default the one beside the
    /// weights
    #[arg(long, value_name = "FILE")]
    pub tokens: Option<PathBuf>,
    /// Folder of the model
    #[arg(long, value_name = "MODEL")]
    pub out: PathBuf,
}

#[derive(Debug, Subcommand)]
pub(super) enum Data {
    /// Hears everything once: hours, lengths, formats, alphabet, and what is wrong with it
    Check(DataCheck),
    /// Writes any data as JSON lines with 16 kHz FLAC files
    Convert(DataConvert),
}

#[derive(Debug, Args)]
pub(super) struct DataCheck {
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
pub(super) struct DataConvert {
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

/// Bytes a second, in 10⁹.
fn link(text: &str) -> Result<f64, String> {
    let range = 0.001..=1e6;
    text.parse()
        .ok()
        .filter(|rate| range.contains(rate))
        .ok_or("give 10⁹ bytes a second from 0.001 to 1000000".into())
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

/// How log-probabilities become text.
#[derive(Debug, Args)]
#[command(next_help_heading = "Decoding")]
pub(super) struct Decoding {
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

/// What `polymix tune` does not search for.
#[derive(Debug, Args)]
#[command(next_help_heading = "Decoding")]
pub(super) struct Search {
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
    /// Added for a word that is not known, with a language model [default: -10]
    #[arg(long, value_name = "X", allow_hyphen_values = true, value_parser = number)]
    pub unknown: Option<f64>,
    /// Whether the language model scores the text from the beginning to the end of a sentence [default: true]
    #[arg(long, value_name = "true|false")]
    pub score_boundary: Option<bool>,
    /// The known words, one a line; without it those of the language model
    #[arg(long, value_name = "FILE")]
    pub words: Option<PathBuf>,
    /// Words to be preferred, one a line, perhaps with a weight behind it
    #[arg(long, value_name = "FILE")]
    pub hot_words: Option<PathBuf>,
    /// Added for each hot word without a weight of its own [default: 10]
    #[arg(long, value_name = "X", allow_hyphen_values = true, value_parser = number)]
    pub hot_word_weight: Option<f64>,
}

#[derive(Debug, Args)]
pub(super) struct Decode {
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
pub(super) enum Lm {
    /// Writes an ARPA file in a form that is small and opened at once
    Build(LmBuild),
    /// Makes a language model of text, by interpolated modified Kneser-Ney
    Train(LmTrain),
    /// Describes a language model, and checks it whole
    Info(LmInfo),
}

#[derive(Debug, Args)]
pub(super) struct LmBuild {
    /// The ARPA file, plain or gzip
    #[arg(value_name = "ARPA[.gz]")]
    pub arpa: PathBuf,
    /// The file to write; as ARPA where it ends in .arpa
    #[arg(long, value_name = "LM")]
    pub out: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct LmTrain {
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
pub(super) struct LmInfo {
    /// A model of `polymix lm`, or an ARPA file, plain or gzip
    pub lm: PathBuf,
    /// Prints one JSON document
    #[arg(long)]
    pub json: bool,
}

/// A number that is none of infinity and NaN.
fn number(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|number: &f64| number.is_finite()).ok_or("give a number".into())
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
