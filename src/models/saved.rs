//! A MODEL folder's contents: configuration, weights, vocabulary, preprocessing.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{CtcHead, CtcModel, Encoder, UtteranceHead, UtteranceModel};
use crate::audio::{BANDS, Normalization, Padding, Preprocessor, SAMPLE_RATE};
use crate::error::{Error, Result};
use crate::graph::{Graph, Parameter};
use crate::nn::{Context, Mode};
use crate::recipe::{ModelConfig, ModelOptions, ModelTable, Target, TaskKind};
use crate::shape::Spec;
use crate::text::Vocabulary;
use crate::weights::{Precision, Weights};

/// `config.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Tables", into = "Tables")]
pub struct SavedConfig {
    /// The head.
    pub kind: ModelKind,
    /// The encoder's architecture.
    pub model: ModelConfig,
    /// How the encoder was trained, and how it computes.
    pub options: ModelOptions,
    /// Mel bands of its features.
    pub bands: usize,
}

/// A [`SavedConfig`] as the file has it: architecture and options are one table.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Tables {
    kind: KindTable,
    /// The classes of a model of utterances, in the order of its outputs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    labels: Vec<String>,
    /// The task of a model of utterances, as in a recipe; its kind says the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    task: Option<TaskKind>,
    model: ModelTable,
    bands: usize,
}

/// A [`ModelKind`] as the file has it.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum KindTable {
    BestRq { codes: usize, code_dim: usize },
    Ctc(CtcHead),
    Utterance { target: Target, pooling: usize, embedding: Option<usize> },
}

impl TryFrom<Tables> for SavedConfig {
    type Error = String;

    fn try_from(tables: Tables) -> Result<Self, String> {
        let Tables { kind, labels, task, model: ModelTable { model, options }, bands } = tables;
        let kind = match kind {
            KindTable::BestRq { codes, code_dim } => ModelKind::BestRq { codes, code_dim },
            KindTable::Ctc(head) => ModelKind::Ctc(head),
            KindTable::Utterance { target, pooling, embedding } => {
                let head = UtteranceHead { pooling, target, labels, embedding };
                if task.is_some_and(|task| task != head.task()) {
                    let own = head.task().name();
                    return Err(format!("its task is another than that of its kind, which is {own:?}"));
                }
                return Ok(Self { kind: ModelKind::Utterance(head), model, options, bands });
            }
        };
        match (labels.is_empty(), task) {
            (true, None) => Ok(Self { kind, model, options, bands }),
            _ => Err("a task and labels are of models of utterances, and its kind is another".to_owned()),
        }
    }
}

impl From<SavedConfig> for Tables {
    fn from(SavedConfig { kind, model, options, bands }: SavedConfig) -> Self {
        let (kind, labels, task) = match kind {
            ModelKind::BestRq { codes, code_dim } => {
                (KindTable::BestRq { codes, code_dim }, Vec::new(), None)
            }
            ModelKind::Ctc(head) => (KindTable::Ctc(head), Vec::new(), None),
            ModelKind::Utterance(head) => {
                let task = Some(head.task());
                let UtteranceHead { pooling, target, labels, embedding } = head;
                (KindTable::Utterance { target, pooling, embedding }, labels, task)
            }
        };
        Self { kind, labels, task, model: ModelTable { model, options }, bands }
    }
}

/// A head.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum ModelKind {
    /// A quantizer and a prediction head.
    BestRq {
        /// Codes of the quantizer.
        codes: usize,
        /// Width of a code.
        code_dim: usize,
    },
    /// A CTC head.
    Ctc(CtcHead),
    /// A head that judges whole utterances.
    Utterance(UtteranceHead),
}

impl ModelKind {
    /// The head of a model of utterances.
    pub fn utterance(&self) -> Option<&UtteranceHead> {
        match self {
            Self::Utterance(head) => Some(head),
            Self::BestRq { .. } | Self::Ctc(_) => None,
        }
    }

    /// The name of such a model in messages.
    pub(crate) fn noun(&self) -> &'static str {
        match self {
            Self::BestRq { .. } => "a pre-trained encoder",
            Self::Ctc(_) => "a recognizer of text",
            Self::Utterance(head) if head.embedding.is_some() => "a verifier of speakers",
            Self::Utterance(_) => "a classifier",
        }
    }
}

/// `preprocessor_config.json`: how audio becomes features, in training and ever after.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PreprocessorConfig {
    /// Samples a second.
    pub sampling_rate: u32,
    /// Seconds of silence added at both ends.
    pub silence: f64,
    /// Normalization, with its statistics.
    pub normalization: Normalization,
    /// Padding.
    pub padding: Padding,
}

impl PreprocessorConfig {
    /// The configuration as JSON text.
    ///
    /// # Errors
    /// When the text is not understood or its values are out of range.
    pub fn from_json(json: &str) -> Result<Self> {
        let config: Self = serde_json::from_str(json).map_err(|e| Error::invalid(e.to_string()))?;
        if config.sampling_rate != SAMPLE_RATE {
            let rate = config.sampling_rate;
            return Err(Error::invalid(format!(
                "sampling_rate {rate} is not supported; it is {SAMPLE_RATE}"
            )));
        }
        if !(0.0..=60.0).contains(&config.silence) {
            return Err(Error::invalid(format!("silence of {} s is out of range", config.silence)));
        }
        if let Normalization::Global(stats) = &config.normalization {
            stats.check()?;
        }
        Ok(config)
    }

    /// Ready to run.
    pub fn preprocessor(&self) -> Preprocessor {
        Preprocessor::new(self.silence, self.normalization.clone(), self.padding)
    }
}

fn json<T: Serialize>(value: &T) -> Result<Vec<u8>> {
    serde_json::to_vec_pretty(value).map_err(|e| Error::invalid(e.to_string()))
}

/// Names the file that an error is about.
pub(crate) fn within<T>(path: &Path, result: Result<T>) -> Result<T> {
    result.map_err(|error| match error {
        Error::File { .. } => error,
        other => Error::file(path, other.to_string()),
    })
}

/// Everything that a model needs to run.
#[derive(Debug, Clone)]
pub struct SavedModel {
    /// Architecture.
    pub config: SavedConfig,
    /// Parameters and frozen state.
    pub weights: Weights,
    /// How audio becomes features.
    pub preprocessor: PreprocessorConfig,
    /// Tokens of a CTC model.
    pub vocabulary: Option<Vocabulary>,
}

impl SavedModel {
    /// The model of the files of a MODEL folder, which messages call `folder`: the texts of `config.json`,
    /// `preprocessor_config.json` and, of a CTC model, `vocab.json`, and the tensors of `model.safetensors`.
    ///
    /// # Errors
    /// When a text is not understood, or a file does not fit the others.
    pub fn from_files(
        folder: &Path,
        config: &str,
        preprocessor: &str,
        vocabulary: Option<&str>,
        weights: Weights,
    ) -> Result<Self> {
        let config = within(&folder.join("config.json"), SavedConfig::from_json(config))?;
        let preprocessor =
            within(&folder.join("preprocessor_config.json"), PreprocessorConfig::from_json(preprocessor))?;
        let vocabulary =
            vocabulary.map(|text| within(&folder.join("vocab.json"), Vocabulary::from_json(text)));
        let model = Self { config, weights, preprocessor, vocabulary: vocabulary.transpose()? };
        within(&folder.join("model.safetensors"), model.check())?;
        Ok(model)
    }

    /// The files of its MODEL folder, by their names; the tensors are in `precision`, and `card` is the README.
    ///
    /// # Errors
    /// When a value does not fit the precision.
    pub fn files(&self, precision: Precision, card: &str) -> Result<Vec<(&'static str, Vec<u8>)>> {
        let mut files = vec![
            ("config.json", json(&self.config)?),
            ("preprocessor_config.json", json(&self.preprocessor)?),
            ("model.safetensors", self.weights.serialize(precision)?),
        ];
        if let Some(vocabulary) = &self.vocabulary {
            files.push(("vocab.json", vocabulary.to_json().into_bytes()));
            if let Some(pieces) = vocabulary.pieces() {
                files.push(("tokenizer.json", json(&pieces.to_value())?));
            }
        }
        files.push(("README.md", card.as_bytes().to_vec()));
        Ok(files)
    }

    /// Checks that the weights are those of the configuration.
    ///
    /// # Errors
    /// When a value is out of range, or a tensor is missing, unknown or of another shape.
    pub fn check(&self) -> Result<()> {
        self.config.model.validate()?;
        self.config.options.validate()?;
        let parameters = self.config.parameters()?;
        for parameter in &parameters {
            let values = self.weights.values(parameter)?;
            if values.iter().any(|value| !value.is_finite()) {
                return Err(Error::invalid(format!("the tensor {} is not finite", parameter.name)));
            }
        }
        let known = |name: &str| parameters.iter().any(|parameter| parameter.name == name);
        if let Some((name, ..)) = self.weights.iter().find(|(name, ..)| !known(name)) {
            return Err(Error::invalid(format!("the tensor {name} does not belong to the model")));
        }
        match (&self.config.kind, &self.vocabulary) {
            (ModelKind::Ctc(head), Some(vocabulary)) if vocabulary.len() != head.vocabulary => {
                let (tokens, outputs) = (vocabulary.len(), head.vocabulary);
                Err(Error::invalid(format!("the vocabulary has {tokens} tokens, the head {outputs} outputs")))
            }
            (ModelKind::Ctc(_), None) => Err(Error::invalid("a CTC model needs its vocabulary")),
            _ => Ok(()),
        }
    }
}

impl SavedConfig {
    /// The parameters of the model, trainable and frozen.
    ///
    /// # Errors
    /// When the configuration is out of range.
    pub fn parameters(&self) -> Result<Vec<Parameter>> {
        let graph = Graph::new();
        let scope = graph.root();
        let frames = 4 * super::STRIDE;
        let ctx = Context::new(&scope, 1, super::frames_after(frames), Mode::Inference, self.model.padding);
        let features = scope.input("features", Spec::f32([1, frames, self.bands]));
        let encoder = Encoder::new(&self.model, self.bands);
        match &self.kind {
            ModelKind::BestRq { codes, code_dim } => {
                let model = super::BestRq::new(encoder, self.bands, *codes, *code_dim);
                let inputs = super::BestRq::inputs(&scope, &ctx, ctx.time);
                model.loss(&scope, &ctx, &features, &features, &inputs)?;
            }
            ModelKind::Ctc(head) => {
                CtcModel::new(encoder, head.clone()).forward(&scope, &ctx, &features)?;
            }
            ModelKind::Utterance(head) => {
                head.check()?;
                UtteranceModel::new(encoder, head.clone()).forward(&scope, &ctx, &features)?;
            }
        }
        Ok(graph.parameters().into_iter().map(|(parameter, _)| parameter).collect())
    }

    /// The configuration as JSON text.
    ///
    /// # Errors
    /// When the text is not understood.
    pub fn from_json(json: &str) -> Result<Self> {
        let config: Self = serde_json::from_str(json).map_err(|e| Error::invalid(e.to_string()))?;
        config.model.validate()?;
        config.options.validate()?;
        if config.bands != BANDS {
            return Err(Error::invalid(format!("bands = {} is not supported; it is {BANDS}", config.bands)));
        }
        Ok(config)
    }
}
