//! Tasks, the differences between the phases of training: inputs of the loss, and metrics of validation.

use serde::{Deserialize, Serialize};

use super::metrics::Phase;
use super::objective::{BatchShape, InputData, Inputs, Objective, Results, encoder_inputs};
use crate::data::Batch;
use crate::error::Result;
use crate::exec::Executor;
use crate::models::ModelKind;

impl BatchShape {
    /// The shape of a batch.
    pub fn of(batch: &Batch) -> Self {
        Self { utterances: batch.utterances, frames: batch.frames }
    }
}

/// Sums over the rows of validation data.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Totals {
    /// Sum of the batches' losses, each times its weight.
    #[serde(with = "bits")]
    pub loss: f64,
    /// Sum of the weights: rows, or masked frames.
    #[serde(with = "bits")]
    pub weight: f64,
    /// Correct masked frames.
    #[serde(with = "bits")]
    pub correct: f64,
    /// Utterances whose class is found.
    pub right: usize,
    /// Utterances as a verifier has them.
    pub embeddings: Vec<Embedding>,
    /// Word and character errors of each utterance.
    pub scores: Vec<crate::text::Score>,
    /// Rows that the rates are of.
    pub rows: usize,
    /// Rows that the loss is of.
    pub loss_rows: usize,
}

impl Totals {
    /// Adds a batch's loss, the mean over so many of its rows; where there are none it has no loss.
    pub fn add_loss(&mut self, loss: f64, rows: usize) {
        if rows > 0 {
            self.loss_rows += rows;
            self.loss += loss * rows as f64;
            self.weight += rows as f64;
        }
    }

    /// Adds those of other batches.
    pub fn add(&mut self, other: Self) {
        self.loss += other.loss;
        self.weight += other.weight;
        self.correct += other.correct;
        self.right += other.right;
        self.embeddings.extend(other.embeddings);
        self.scores.extend(other.scores);
        self.rows += other.rows;
        self.loss_rows += other.loss_rows;
    }
}

/// The embedding of an utterance, and its class.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Embedding {
    /// The class.
    pub class: String,
    /// The elements as their bits, since JSON has no number that is not finite.
    bits: Vec<u32>,
}

impl Embedding {
    /// The embedding with these elements.
    pub fn new(class: &str, values: &[f32]) -> Self {
        Self { class: class.to_owned(), bits: values.iter().map(|value| value.to_bits()).collect() }
    }

    /// The elements.
    pub fn values(&self) -> Vec<f32> {
        self.bits.iter().map(|&bits| f32::from_bits(bits)).collect()
    }
}

/// The metric that chooses the best model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Measure {
    /// The validation loss.
    Loss,
    /// The share of wrong words.
    WordErrorRate,
    /// The share of utterances whose class is found.
    Accuracy,
    /// The rate of misses and of false alarms where they are the same.
    EqualErrorRate,
}

impl Measure {
    /// A score, of which less is better, as text.
    pub fn describe(self, score: f64) -> String {
        match self {
            Self::Loss => format!("validation loss {score:.4}"),
            Self::WordErrorRate => format!("validation WER {:.2} %", 100.0 * score),
            Self::Accuracy => format!("validation accuracy {:.2} %", 100.0 * (1.0 - score)),
            Self::EqualErrorRate => format!("validation EER {:.2} %", 100.0 * score),
        }
    }
}

/// Numbers as their bits, since JSON has none that is not finite.
mod bits {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        value.to_bits().serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        u64::deserialize(deserializer).map(f64::from_bits)
    }
}

/// The contribution of a row of a batch to the loss and to the rates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Row {
    /// Nothing: it is empty.
    Empty,
    /// All of it.
    Whole,
    /// Nothing: the text is infeasible for so few frames.
    Impossible {
        /// Frames that the text needs.
        needs: usize,
        /// Frames that there are.
        frames: usize,
    },
    /// Its errors, but no loss: the vocabulary lacks characters of its text.
    Foreign,
    /// Its errors, but no loss: the training data lack its class.
    Unknown,
}

/// One phase of training.
pub trait Task: Objective + Send {
    /// Which phase.
    fn phase(&self) -> Phase;

    /// The metric that chooses the best model.
    fn measure(&self) -> Measure;

    /// The head.
    fn kind(&self) -> ModelKind;

    /// All inputs of the loss for `batch` in micro-batch `micro` of `step`, and the number of
    /// predictions that accuracy is a share of (0 where there is no accuracy).
    ///
    /// # Errors
    /// When a text has more tokens than there is room for.
    fn inputs(&self, batch: &Batch, step: u64, micro: u32, training: bool) -> Result<(Inputs, usize)>;

    /// The contribution of each row of `batch`; without texts, all of it.
    fn rows(&self, batch: &Batch) -> Vec<Row> {
        batch.lengths.iter().map(|&length| if length > 0 { Row::Whole } else { Row::Empty }).collect()
    }

    /// Statistics of the training data to print before the first step; `next` gives one epoch of batches.
    ///
    /// # Errors
    /// When data cannot be read or the device fails.
    fn data_statistics(
        &self,
        executor: &mut Executor,
        next: &mut dyn FnMut() -> Option<Result<Batch>>,
    ) -> Result<Option<String>> {
        let _ = (executor, next);
        Ok(None)
    }

    /// Updates the metrics by a validation batch: its loss, count and texts.
    ///
    /// # Errors
    /// When an output is not as expected.
    fn update_metrics(
        &self,
        totals: &mut Totals,
        batch: &Batch,
        predictions: usize,
        results: &Results,
    ) -> Result<()>;
}

/// The inputs that every model takes: features, lengths, validity, RNG counters.
pub fn common_inputs(batch: &Batch, seed: u32, step: u64, micro: u32) -> Inputs {
    let mut inputs = encoder_inputs(&batch.lengths, batch.frames, [seed, step as u32, micro]);
    inputs.push(("features".into(), InputData::F32(batch.features.clone())));
    inputs
}

/// The inputs of LayerDrop: which of `layers` take part in this micro-batch.
pub fn layer_drop_inputs(layers: usize, probability: f64, words: &[u32]) -> Inputs {
    let mut rng = crate::rng::Rng::new(words);
    let keep = (0..layers).map(|layer| {
        let kept = if f64::from(rng.unit()) < probability { 0.0 } else { 1.0 };
        (format!("encoder.layers.{layer}.keep"), InputData::F32(vec![kept]))
    });
    keep.collect()
}
