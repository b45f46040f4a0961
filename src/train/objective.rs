//! The objective of an optimizer's step, without its data.

use crate::error::{Error, Result};
use crate::exec::PlanOptions;
use crate::graph::{Graph, Tensor};
use crate::models::{EncoderInputs, Handed, Handover, frames_after};

/// The key of a plan. Everything else about a batch is data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BatchShape {
    /// Rows, empty ones included.
    pub utterances: usize,
    /// Feature frames of a row.
    pub frames: usize,
}

impl BatchShape {
    /// Encoder frames of a row.
    pub fn time(self) -> usize {
        frames_after(self.frames)
    }
}

/// Data of one input.
#[derive(Debug, Clone, PartialEq)]
pub enum InputData {
    /// Of an f32 input.
    F32(Vec<f32>),
    /// Of a u32 input.
    U32(Vec<u32>),
}

/// Named data for a run.
pub type Inputs = Vec<(String, InputData)>;

/// A loss as a graph.
#[derive(Debug, Clone)]
pub struct LossGraph {
    /// The graph.
    pub graph: Graph,
    /// The loss, `[1]`.
    pub loss: Tensor,
    /// A count beside it, `[1]`: correct masked frames, or targets that do not fit.
    pub count: Tensor,
    /// The logits of which validation reads what [`Objective::handover`] says: `[frames of all rows, tokens]` where it
    /// makes text of them, else `[rows, classes]`.
    pub logits: Option<Tensor>,
    /// The embeddings that validation compares, `[rows, width]`.
    pub embeddings: Option<Tensor>,
}

/// The results of a validation batch.
#[derive(Debug, Clone, Default)]
pub struct Results {
    /// The loss.
    pub loss: f64,
    /// The count.
    pub count: f64,
    /// The outputs read from the logits.
    pub handed: Option<Handed>,
    /// The embeddings, where the objective has them.
    pub embeddings: Vec<f32>,
}

impl Results {
    /// The most probable class of each row of the logits, where those are what was handed over.
    pub fn best(&self) -> &[u32] {
        match &self.handed {
            Some(Handed::Best { ids, .. }) => ids,
            _ => &[],
        }
    }
}

/// A loss for batches of any shape.
pub trait Objective {
    /// How its plans compute.
    fn plan_options(&self) -> PlanOptions;

    /// The outputs of the logits that validation reads, if any.
    fn handover(&self) -> Option<Handover> {
        None
    }

    /// The loss for a batch shape, with dropout if `training`.
    ///
    /// # Errors
    /// When the model cannot be built.
    fn graph(&self, shape: BatchShape, training: bool) -> Result<LossGraph>;
}

/// The inputs of every encoder beside its features: lengths and validity of rows with `lengths` valid feature frames of
/// `frames`, and the RNG's counters (seed, step, micro-batch).
pub fn encoder_inputs(lengths: &[u32], frames: usize, rng: [u32; 3]) -> Inputs {
    let EncoderInputs { lengths, full_lengths, valid } = EncoderInputs::new(lengths, frames);
    vec![
        ("valid".into(), InputData::F32(valid)),
        ("lengths".into(), InputData::U32(lengths)),
        ("full_lengths".into(), InputData::U32(full_lengths)),
        ("rng".into(), InputData::U32(rng.to_vec())),
    ]
}

/// The inputs of the CTC loss: the tokens of every row, of which each adds the mean over its tokens, divided by the number
/// of rows that have any; `None` adds nothing.
///
/// # Errors
/// When a row has more tokens than `max_target_length`.
pub fn ctc_inputs(rows: &[Option<Vec<u32>>], max_target_length: usize) -> Result<Inputs> {
    let counted = rows.iter().flatten().count();
    let mut targets = vec![0; rows.len() * max_target_length];
    let (mut lengths, mut weights) = (vec![0; rows.len()], vec![0.0; rows.len()]);
    for (row, ids) in rows.iter().enumerate() {
        let Some(ids) = ids else { continue };
        if ids.len() > max_target_length {
            let message = format!("a text of {} tokens passes the room for {max_target_length}", ids.len());
            return Err(Error::invalid(message));
        }
        targets[row * max_target_length..row * max_target_length + ids.len()].copy_from_slice(ids);
        lengths[row] = ids.len() as u32;
        weights[row] = 1.0 / (counted * ids.len().max(1)) as f32;
    }
    Ok(vec![
        ("targets".into(), InputData::U32(targets)),
        ("target_lengths".into(), InputData::U32(lengths)),
        ("loss_weights".into(), InputData::F32(weights)),
    ])
}

/// The inputs of the loss of classes: the class of every row; `None` is in no loss.
pub fn class_inputs(rows: &[Option<u32>]) -> Inputs {
    let known = rows.iter().enumerate().filter_map(|(row, class)| Some((row as u32, (*class)?)));
    let (mut selected, mut targets): (Vec<u32>, Vec<u32>) = known.unzip();
    let count = selected.len();
    // Rows behind the count gather nothing.
    selected.resize(rows.len(), u32::MAX);
    targets.resize(rows.len(), 0);
    vec![
        ("selected".into(), InputData::U32(selected)),
        ("targets".into(), InputData::U32(targets)),
        ("selected_count".into(), InputData::U32(vec![count as u32])),
    ]
}
