//! `[pretrain]` and `[finetune]`: the two phases of training (paper §5 and §6).

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::decode::Settings;

/// BEST-RQ pre-training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PretrainConfig {
    /// Optimizer steps.
    pub steps: u64,
    /// Codes in the quantizer's codebook: the classes that are predicted.
    pub codes: usize,
    /// Dimension in which the quantizer compares.
    pub code_dim: usize,
    /// Starts of masked stretches, per feature frame of the batch's shortest utterance.
    pub mask_probability: f64,
    /// Feature frames (10 ms) that one start masks; a multiple of 4.
    pub mask_frames: usize,
    /// Standard deviation of the noise that replaces masked frames, in normalized units.
    pub noise_std: f64,
    /// Replaces `model.dropout` in this phase.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dropout: Option<f64>,
    /// From clips to batches.
    pub data: DataConfig,
    /// AdamW and its learning rates.
    pub optimizer: OptimizerConfig,
}

impl Default for PretrainConfig {
    fn default() -> Self {
        Self {
            steps: 200_000,
            codes: 8192,
            code_dim: 16,
            mask_probability: 0.15,
            mask_frames: 4,
            noise_std: 0.1,
            dropout: None,
            data: DataConfig {
                min_seconds: 2.0,
                batch_seconds: Some(BatchSeconds::Given(1400.0)),
                ..DataConfig::default()
            },
            optimizer: OptimizerConfig {
                encoder_lr: 1e-3,
                head_lr: 1e-3,
                betas: [0.9, 0.98],
                eps: 1e-9,
                weight_decay: 0.1,
                decay_biases_and_norms: true,
                clip: 10.0,
                accumulation: 1,
                schedule: ScheduleConfig::Noam { warmup: 25_000 },
            },
        }
    }
}

/// Fine-tuning, or training from scratch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FinetuneConfig {
    /// The task.
    pub task: TaskKind,
    /// What of a recording its class is, of tasks that have classes; by default the task's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<Target>,
    /// Whether front-end and encoder stay as they are, and only what stands on them is trained.
    pub freeze_encoder: bool,
    /// Passes over the training data; instead of `steps`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epochs: Option<u64>,
    /// Optimizer steps; instead of `epochs`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steps: Option<u64>,
    /// The head.
    pub head: Head,
    /// Width of the hidden layers of `head = "mlp"`.
    pub head_width: usize,
    /// Probability of dropping an element between the layers of `head = "mlp"`.
    pub head_dropout: f64,
    /// Where the tokens of a new head come from; a CTC model that training goes on from brings its own.
    pub vocabulary: VocabularySource,
    /// Whether a CTC model that training goes on from gets a new head, for an alphabet of its own.
    #[serde(default)]
    pub new_head: bool,
    /// Hidden width of the attention that weighs an utterance's frames, of tasks that have classes.
    pub pooling_width: usize,
    /// Width of the embedding of `task = "verify"`.
    pub embedding_width: usize,
    /// Radians that are added to the angle between an embedding and its own class in training.
    pub margin: f64,
    /// The factor of cosines before the cross-entropy.
    pub margin_scale: f64,
    /// Whether an utterance whose text does not fit in its frames has loss 0; it is an infinite loss otherwise.
    pub zero_infinity: bool,
    /// Replaces `model.dropout` in this phase.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dropout: Option<f64>,
    /// How validation makes text: the keys of `decoder.json`; greedily without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decoder: Option<Settings>,
    /// From clips to batches.
    pub data: DataConfig,
    /// AdamW and its learning rates.
    pub optimizer: OptimizerConfig,
    /// Augmentation of the waveform.
    pub augmentation: AugmentationConfig,
}

impl Default for FinetuneConfig {
    fn default() -> Self {
        Self {
            task: TaskKind::Ctc,
            target: None,
            freeze_encoder: false,
            epochs: Some(30),
            steps: None,
            head: Head::Mlp,
            head_width: 1280,
            head_dropout: 0.15,
            vocabulary: VocabularySource::English,
            new_head: false,
            pooling_width: 128,
            embedding_width: 192,
            margin: 0.2,
            margin_scale: 30.0,
            zero_infinity: true,
            dropout: None,
            decoder: None,
            data: DataConfig { batch_utterances: Some(BatchUtterances::Same(6)), ..DataConfig::default() },
            optimizer: OptimizerConfig {
                encoder_lr: 5e-5,
                head_lr: 3e-4,
                betas: [0.9, 0.999],
                eps: 1e-8,
                weight_decay: 1e-3,
                decay_biases_and_norms: true,
                clip: 5.0,
                accumulation: 1,
                schedule: ScheduleConfig::Newbob { threshold: 0.0025, head_factor: 0.5, encoder_factor: 0.7 },
            },
            augmentation: AugmentationConfig::default(),
        }
    }
}

/// How long fine-tuning goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Duration {
    /// Optimizer steps.
    Steps(u64),
    /// Passes over the training data.
    Epochs(u64),
}

/// The task of fine-tuning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TaskKind {
    /// The text.
    Ctc,
    /// Which of several classes an utterance is of.
    Classify,
    /// Whether two utterances are of one class, also of one that is not in the training data: of one speaker.
    Verify,
}

impl TaskKind {
    /// Its name in recipes.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ctc => "ctc",
            Self::Classify => "classify",
            Self::Verify => "verify",
        }
    }
}

/// The field of a manifest that says which class a recording is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Target {
    /// `label`.
    Label,
    /// `speaker`.
    Speaker,
    /// `text`.
    Text,
}

impl Target {
    /// Its name in recipes and manifests.
    pub fn name(self) -> &'static str {
        match self {
            Self::Label => "label",
            Self::Speaker => "speaker",
            Self::Text => "text",
        }
    }
}

impl FinetuneConfig {
    /// What of a recording its class is: the label, or of `task = "verify"` the speaker, unless the recipe says
    /// otherwise.
    pub fn target(&self) -> Target {
        let own = if self.task == TaskKind::Verify { Target::Speaker } else { Target::Label };
        self.target.unwrap_or(own)
    }

    /// How long to go on: `steps` where they are given, else `epochs`, else the paper's 30 epochs.
    pub fn duration(&self) -> Duration {
        self.steps.map_or(Duration::Epochs(self.epochs.unwrap_or(30)), Duration::Steps)
    }
}

/// The head in fine-tuning.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Head {
    /// Three layers of Linear, LayerNorm and LeakyReLU, then a Linear to the vocabulary.
    Mlp,
    /// One Linear to the vocabulary.
    Linear,
}

/// Where the tokens come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "VocabularyForm", into = "VocabularyForm")]
#[non_exhaustive]
pub enum VocabularySource {
    /// 26 letters, apostrophe and space.
    English,
    /// The characters of the training transcripts.
    Transcripts,
    /// So many sub-words, made of the training transcripts by byte pair encoding: `{ pieces = 500 }`.
    Pieces(usize),
    /// The sub-words of a `tokenizer.json` or a SentencePiece model: `{ tokenizer = "FILE" }`.
    Tokenizer(PathBuf),
}

/// How a recipe writes it.
#[derive(Serialize, Deserialize)]
#[serde(
    untagged,
    deny_unknown_fields,
    expecting = "expected \"english\", \"transcripts\", { pieces = 500 } or { tokenizer = \"FILE\" }"
)]
enum VocabularyForm {
    Named(VocabularyName),
    Pieces { pieces: usize },
    Tokenizer { tokenizer: PathBuf },
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum VocabularyName {
    English,
    Transcripts,
}

impl From<VocabularyForm> for VocabularySource {
    fn from(form: VocabularyForm) -> Self {
        match form {
            VocabularyForm::Named(VocabularyName::English) => Self::English,
            VocabularyForm::Named(VocabularyName::Transcripts) => Self::Transcripts,
            VocabularyForm::Pieces { pieces } => Self::Pieces(pieces),
            VocabularyForm::Tokenizer { tokenizer } => Self::Tokenizer(tokenizer),
        }
    }
}

impl From<VocabularySource> for VocabularyForm {
    fn from(source: VocabularySource) -> Self {
        match source {
            VocabularySource::English => Self::Named(VocabularyName::English),
            VocabularySource::Transcripts => Self::Named(VocabularyName::Transcripts),
            VocabularySource::Pieces(pieces) => Self::Pieces { pieces },
            VocabularySource::Tokenizer(tokenizer) => Self::Tokenizer { tokenizer },
        }
    }
}

/// From clips to batches. Short clips are concatenated first, then windows are cut, then lengths are checked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataConfig {
    /// Seconds; what is shorter is left out and counted.
    pub min_seconds: f64,
    /// Seconds; what is longer is left out and counted.
    pub max_seconds: f64,
    /// Cuts longer clips into windows of this many seconds, of which the last overlaps the one before
    /// (pre-training only).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window_seconds: Option<f64>,
    /// Concatenates shorter clips of one speaker: in pre-training to exactly this many seconds, in fine-tuning on texts
    /// whole clips to at most as many, drawn anew in every epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub string_seconds: Option<f64>,
    /// Seconds of silence between concatenated clips.
    pub string_gap_seconds: GapSeconds,
    /// Whether clips of similar length share batches, which pads least; else any do (with `batch_utterances`).
    pub group_by_length: bool,
    /// Seconds of audio in a batch, padding included, or `"fit"`; instead of `batch_utterances`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch_seconds: Option<BatchSeconds>,
    /// Utterances in a batch, or a list with a number for each length of batches, the shortest first; instead of
    /// `batch_seconds`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch_utterances: Option<BatchUtterances>,
    /// At most so many lengths to which batches are padded; a list of `batch_utterances` tells their number itself.
    pub buckets: usize,
}

/// Seconds of silence between clips.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "expected a number of seconds, or the shortest and the longest gap such as [0.1, 2.0]"
)]
pub enum GapSeconds {
    /// Always so many.
    Same(f64),
    /// Drawn from the first to the second for every gap.
    Drawn([f64; 2]),
}

impl GapSeconds {
    /// The shortest and the longest.
    pub fn range(self) -> [f64; 2] {
        match self {
            Self::Same(seconds) => [seconds; 2],
            Self::Drawn(range) => range,
        }
    }
}

/// Seconds of audio in a batch.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected a number of seconds or \"fit\"")]
pub enum BatchSeconds {
    /// So many.
    Given(f64),
    /// As many as the device holds.
    Fit(Fit),
}

/// The word for batches as large as the device holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fit {
    /// `"fit"`.
    Fit,
}

/// Utterances in a batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected a number of utterances, or a list of them")]
pub enum BatchUtterances {
    /// So many.
    Same(usize),
    /// So many for each length of batches, the shortest first.
    Each(Vec<usize>),
}

impl DataConfig {
    /// Whether batches are to be as large as the device holds.
    pub fn fits(&self) -> bool {
        self.batch_utterances.is_none() && matches!(self.batch_seconds, Some(BatchSeconds::Fit(_)))
    }

    /// Asks for batches as large as the device holds.
    pub fn fit(&mut self) {
        (self.batch_seconds, self.batch_utterances) = (Some(BatchSeconds::Fit(Fit::Fit)), None);
    }

    /// Sets the batch sizes that fit: so many utterances for each length of batches.
    pub fn fitted(&mut self, utterances: &[usize]) {
        let each = BatchUtterances::Each(utterances.to_vec());
        (self.batch_seconds, self.batch_utterances) = (None, Some(each));
    }
}

impl Default for DataConfig {
    fn default() -> Self {
        Self {
            min_seconds: 0.1,
            max_seconds: 60.0,
            window_seconds: None,
            string_seconds: None,
            string_gap_seconds: GapSeconds::Same(0.0),
            group_by_length: true,
            batch_seconds: None,
            batch_utterances: None,
            buckets: 8,
        }
    }
}

/// AdamW (decoupled weight decay) with one learning rate for the encoder and one for what stands on it.
///
/// A recipe may write `lr` for both rates.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OptimizerConfig {
    /// Peak learning rate of the front-end and the encoder.
    pub encoder_lr: f64,
    /// Peak learning rate of the head.
    pub head_lr: f64,
    /// Decay of the running means of the gradient and of its square.
    pub betas: [f64; 2],
    /// Added to the root of the mean square.
    pub eps: f64,
    /// Decoupled weight decay, multiplied by the learning rate.
    pub weight_decay: f64,
    /// Whether weight decay applies to biases and normalization weights too.
    pub decay_biases_and_norms: bool,
    /// Largest global norm of the gradient.
    pub clip: f64,
    /// Batches whose gradients are averaged for one step.
    pub accumulation: usize,
    /// How the learning rates change.
    pub schedule: ScheduleConfig,
}

/// How the learning rates change over the steps.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "kebab-case", deny_unknown_fields)]
#[non_exhaustive]
pub enum ScheduleConfig {
    /// Linear to the peak, then with the inverse root of the step.
    Noam {
        /// Steps to the peak.
        #[serde(default = "noam_warmup")]
        warmup: u64,
    },
    /// Linear to the peak, then half a cosine to 0 at the last step.
    Cosine {
        /// Part of all steps that lead to the peak.
        #[serde(default = "cosine_warmup_fraction")]
        warmup_fraction: f64,
    },
    /// Lowers the rates whenever the validation loss stops falling.
    Newbob {
        /// Least relative fall of the validation loss that keeps the rates.
        #[serde(default = "newbob_threshold")]
        threshold: f64,
        /// Multiplies the head's rate otherwise.
        #[serde(default = "newbob_head_factor")]
        head_factor: f64,
        /// Multiplies the encoder's rate otherwise.
        #[serde(default = "newbob_encoder_factor")]
        encoder_factor: f64,
    },
    /// Always the peak.
    Constant {},
}

fn noam_warmup() -> u64 {
    25_000
}

fn cosine_warmup_fraction() -> f64 {
    0.1
}

fn newbob_threshold() -> f64 {
    0.0025
}

fn newbob_head_factor() -> f64 {
    0.5
}

fn newbob_encoder_factor() -> f64 {
    0.7
}

/// Augmentation of the waveform in fine-tuning; the original batch is kept beside the changed one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AugmentationConfig {
    /// Whether anything is done at all.
    pub enabled: bool,
    /// Speeds in percent, one drawn a batch.
    pub speeds: Vec<u32>,
    /// Fewest and most frequency bands that are notched out.
    pub notch_bands: [usize; 2],
    /// Fewest and most chunks that are zeroed.
    pub zero_chunks: [usize; 2],
    /// Shortest and longest zeroed chunk, in samples at 16 kHz.
    pub chunk_samples: [usize; 2],
    /// Least and greatest ratio of the signal's power to that of white or pink noise that is added, in dB; without it none
    /// is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub noise_db: Option<[f64; 2]>,
    /// Least and greatest gain, in dB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gain_db: Option<[f64; 2]>,
}

impl Default for AugmentationConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            speeds: vec![95, 100, 105],
            notch_bands: [1, 3],
            zero_chunks: [1, 5],
            chunk_samples: [1000, 2000],
            noise_db: None,
            gain_db: None,
        }
    }
}
