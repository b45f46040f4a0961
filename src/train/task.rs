//! What differs between the phases of training: the loss and what it is fed.

use serde::{Deserialize, Serialize};

use crate::data::Batch;
use crate::error::Result;
use crate::exec::{Executor, PlanOptions};
use crate::graph::{Graph, Tensor};
use crate::models::{EncoderInputs, ModelKind, frames_after};
use crate::train::metrics::Phase;

/// The key of a plan. Everything else about a batch is data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BatchShape {
    /// Rows, empty ones included.
    pub utterances: usize,
    /// Feature frames of a row.
    pub frames: usize,
}

impl BatchShape {
    /// The shape of a batch.
    pub fn of(batch: &Batch) -> Self {
        Self { utterances: batch.utterances, frames: batch.frames }
    }

    /// Encoder frames of a row.
    pub fn time(self) -> usize {
        frames_after(self.frames)
    }
}

/// Data of one input.
#[derive(Debug, Clone, PartialEq)]
pub enum Feed {
    /// Of an f32 input.
    F32(Vec<f32>),
    /// Of a u32 input.
    U32(Vec<u32>),
}

/// Named data for a run.
pub type Feeds = Vec<(String, Feed)>;

/// A loss as a graph.
#[derive(Debug, Clone)]
pub struct LossGraph {
    /// The graph.
    pub graph: Graph,
    /// The loss, `[1]`.
    pub loss: Tensor,
    /// What is counted beside it, `[1]`: correct masked frames, or targets that do not fit.
    pub count: Tensor,
    /// Values that validation reads.
    pub outputs: Vec<(&'static str, Tensor)>,
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
    /// Word and character errors of each utterance.
    pub scores: Vec<crate::text::Score>,
    /// Rows that the rates are of.
    pub rows: usize,
    /// Rows that the loss is of.
    pub loss_rows: usize,
}

impl Totals {
    /// Adds those of other batches.
    pub fn add(&mut self, other: Self) {
        self.loss += other.loss;
        self.weight += other.weight;
        self.correct += other.correct;
        self.scores.extend(other.scores);
        self.rows += other.rows;
        self.loss_rows += other.loss_rows;
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

/// What a row of a batch can add to the loss and to the rates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Row {
    /// Nothing: it is empty.
    Empty,
    /// All of it.
    Whole,
    /// Nothing: no output of so few frames says its text.
    Impossible {
        /// Frames that the text needs.
        needs: usize,
        /// Frames that there are.
        frames: usize,
    },
    /// Its errors, but no loss: the vocabulary lacks characters of its text.
    Foreign,
}

/// One phase of training.
pub trait Task: Send {
    /// Which phase.
    fn phase(&self) -> Phase;

    /// What stands on the encoder.
    fn kind(&self) -> ModelKind;

    /// How its plans compute.
    fn plan_options(&self) -> PlanOptions;

    /// The loss for a batch shape, with dropout if `training`.
    ///
    /// # Errors
    /// When the model cannot be built.
    fn graph(&self, shape: BatchShape, training: bool) -> Result<LossGraph>;

    /// Everything that the loss is fed for `batch` in micro-batch `micro` of `step`, and the number of
    /// decisions that accuracy is a share of (0 where there is no accuracy).
    ///
    /// # Errors
    /// When a text has more tokens than there is room for.
    fn feeds(&self, batch: &Batch, step: u64, micro: u32, training: bool) -> Result<(Feeds, usize)>;

    /// What each row of `batch` can add; where nothing is said of texts, all of it.
    fn rows(&self, batch: &Batch) -> Vec<Row> {
        batch.lengths.iter().map(|&length| if length > 0 { Row::Whole } else { Row::Empty }).collect()
    }

    /// What is worth saying of the training data before the first step; `next` gives one epoch of batches.
    ///
    /// # Errors
    /// What data or device reported.
    fn survey(
        &self,
        executor: &mut Executor,
        next: &mut dyn FnMut() -> Option<Result<Batch>>,
    ) -> Result<Option<String>> {
        let _ = (executor, next);
        Ok(None)
    }

    /// Adds a validation batch: its loss, count and outputs.
    ///
    /// # Errors
    /// When an output is not as expected.
    fn observe(&self, totals: &mut Totals, batch: &Batch, decisions: usize, results: &Results) -> Result<()>;
}

/// What a validation batch gave.
#[derive(Debug, Clone, Default)]
pub struct Results {
    /// The loss.
    pub loss: f64,
    /// The count.
    pub count: f64,
    /// The outputs by name, u32.
    pub ids: Vec<u32>,
}

/// The inputs that every model takes: features, lengths, validity, RNG counters.
pub fn common_feeds(batch: &Batch, seed: u32, step: u64, micro: u32) -> Feeds {
    let EncoderInputs { lengths, full_lengths, valid } = EncoderInputs::new(&batch.lengths, batch.frames);
    vec![
        ("valid".into(), Feed::F32(valid)),
        ("lengths".into(), Feed::U32(lengths)),
        ("full_lengths".into(), Feed::U32(full_lengths)),
        ("features".into(), Feed::F32(batch.features.clone())),
        ("rng".into(), Feed::U32(vec![seed, step as u32, micro])),
    ]
}

/// The inputs of LayerDrop: which of `layers` take part in this micro-batch.
pub fn layer_drop_feeds(layers: usize, probability: f64, words: &[u32]) -> Feeds {
    let mut rng = crate::rng::Rng::new(words);
    let keep = (0..layers).map(|layer| {
        let kept = if f64::from(rng.unit()) < probability { 0.0 } else { 1.0 };
        (format!("encoder.layers.{layer}.keep"), Feed::F32(vec![kept]))
    });
    keep.collect()
}
