//! Time and memory of models by the length of the audio (paper section 4), from plans alone or from runs.

mod cost;
mod measure;
mod report;

use serde::Serialize;

pub use cost::{Card, Cost, KernelCost, Link, RanksCost, StepCost, names as gpu_names};
pub use measure::{News, Sweep};
pub use report::{LeftOut, Report, Row};

use crate::audio::{BANDS, HOP, SAMPLE_RATE};
use crate::data::{Batch, BatchIndex};
use crate::decode::Decoder;
use crate::error::{Error, Result};
use crate::exec::{Dispatch, Plan};
use crate::gpu::{Capabilities, DeviceClass};
use crate::graph::{Graph, Tensor};
use crate::models::Encoder;
use crate::nn::{Context, Mode};
use crate::recipe::{MixerKind, ModelConfig, OptimizerConfig, Recipe};
use crate::rng::{Rng, stream};
use crate::shape::Spec;
use crate::text::Vocabulary;
use crate::train::{
    BatchShape, Finetune, Kind, LossGraph, ParameterSet, Pretrain, Task, Trainer, training_plan, update_plan,
};

/// The mixers of the paper's figure.
pub const FIGURE: [MixerKind; 5] = [
    MixerKind::Pom,
    MixerKind::SummaryMixing,
    MixerKind::RegularMha,
    MixerKind::RopeMha,
    MixerKind::RelposMha,
];

/// The workload of one run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Workload {
    /// Forward of front-end and encoder in inference mode.
    Infer,
    /// Forward of the BEST-RQ loss in training mode; nothing is kept for a backward pass.
    Forward,
    /// Forward and backward of the BEST-RQ loss.
    Train,
    /// Forward and backward of the CTC loss.
    Finetune,
}

impl Workload {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Infer, Self::Forward, Self::Train, Self::Finetune];

    /// As it is written on the command line and in `profile.csv`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Infer => "infer",
            Self::Forward => "forward",
            Self::Train => "train",
            Self::Finetune => "finetune",
        }
    }

    /// Whether it has a backward pass: then gradients and moments take memory, and an update can follow.
    fn updates(self) -> bool {
        matches!(self, Self::Train | Self::Finetune)
    }

    /// What is kept of every parameter.
    fn kinds(self) -> &'static [Kind] {
        if self.updates() { &Kind::ALL } else { &[Kind::Value] }
    }
}

/// A model under the name of its mixer.
#[derive(Debug, Clone)]
pub struct Subject {
    /// Names of its mixers.
    pub mixer: String,
    /// The model and its losses.
    pub recipe: Recipe,
}

impl Subject {
    /// The model of a recipe.
    pub fn new(recipe: Recipe) -> Self {
        Self { mixer: recipe.model.mixer.label(), recipe }
    }

    /// The paper's base model around `mixer`, with `overrides` (`table.key=value`) set over it.
    ///
    /// # Errors
    /// [`Error::Usage`] when a value does not do.
    pub fn base<S: AsRef<str>>(mixer: MixerKind, overrides: &[S]) -> Result<Self> {
        let recipe = Recipe { model: ModelConfig::base(mixer), ..Recipe::default() };
        let name = format!("the base model around {mixer}");
        Ok(Self::new(Recipe::parse(&name, &recipe.to_toml(), overrides)?))
    }
}

/// The batch and what is done with it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Point {
    /// Seconds of every utterance.
    pub seconds: f64,
    /// Utterances.
    pub batch: usize,
    /// What is computed.
    pub mode: Workload,
}

impl Point {
    /// The shape of the batch: a feature frame every 10 ms and one more, padded to whole encoder frames.
    pub fn shape(self) -> BatchShape {
        let samples = (self.seconds * f64::from(SAMPLE_RATE)).round() as usize;
        BatchShape { utterances: self.batch, frames: (samples / HOP + 1).next_multiple_of(4) }
    }

    /// Characters of an utterance's text: 15 a second, as in read speech, or what the frames can tell apart.
    fn characters(self) -> usize {
        ((15.0 * self.seconds) as usize).clamp(1, (self.shape().time() / 2).max(1))
    }

    /// Utterances of noise that fill the shape, with texts.
    fn batch(self) -> Batch {
        let BatchShape { utterances, frames } = self.shape();
        let mut rng = Rng::new(&[stream("profile")]);
        let text: String = ('a'..='z').cycle().take(self.characters()).collect();
        Batch {
            utterances,
            frames,
            features: (0..utterances * frames * BANDS).map(|_| rng.normal() as f32).collect(),
            lengths: vec![frames as u32; utterances],
            texts: vec![Some(text); utterances],
            ids: (0..utterances).map(|row| vec![row]).collect(),
            audio_seconds: self.seconds * utterances as f64,
            index: BatchIndex::default(),
        }
    }
}

/// The cost of a run, by its plan.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Estimate {
    /// Values that training changes: those of encoder and head. Published sizes count the head to the codes, so it
    /// is counted in inference mode too.
    pub parameters: usize,
    /// Operations of matmuls and convolutions, as of [`Plan::flops`], without those of the update.
    pub flops: u64,
    /// Bytes of all buffers: slots, parameters, in training gradients and moments too.
    pub peak_bytes: u64,
    /// Bytes of the plan's slots, which activations take by turns.
    pub slot_bytes: u64,
    /// The largest sum of activations alive at once: no assignment of slots needs less.
    pub lower_bound_bytes: u64,
    /// Bytes of the largest buffer.
    pub largest_buffer: u64,
    /// Dispatches of a run.
    pub dispatches: usize,
    /// Bytes that they bind, as of [`Dispatch::bytes`].
    pub bound_bytes: u64,
}

/// The plans of one subject at one point.
pub struct Planned {
    /// What is timed.
    pub plan: Plan,
    /// Its cost.
    pub estimate: Estimate,
    update: Option<Plan>,
    task: Box<dyn Task>,
    parameters: ParameterSet,
}

impl Subject {
    fn optimizer(&self, mode: Workload) -> &OptimizerConfig {
        if mode == Workload::Finetune {
            &self.recipe.finetune.optimizer
        } else {
            &self.recipe.pretrain.optimizer
        }
    }

    fn task(&self, point: Point) -> Result<Box<dyn Task>> {
        let Recipe { model, options, pretrain, finetune, run, .. } = self.recipe.clone();
        let seed = run.seed;
        Ok(match point.mode {
            Workload::Finetune => {
                let (vocabulary, max_target_length) = (Vocabulary::english(), point.characters());
                let decoder = Decoder::greedy(&vocabulary)?.into();
                Box::new(Finetune {
                    model,
                    options,
                    config: finetune,
                    vocabulary,
                    decoder,
                    max_target_length,
                    seed,
                })
            }
            _ => Box::new(Pretrain { model, options, config: pretrain, seed }),
        })
    }

    /// Plans one run for a device with these capabilities; nothing is allocated.
    ///
    /// # Errors
    /// When the model does not fit the device's limits.
    pub fn plan(&self, point: Point, capabilities: &Capabilities) -> Result<Planned> {
        let (task, optimizer) = (self.task(point)?, self.optimizer(point.mode));
        let trained = ParameterSet::of(&*task, optimizer, capabilities.max_binding)?;
        let options = self.recipe.options.plan;
        let (shape, trainable) = (point.shape(), trained.trainable());
        let mut update = None;
        let (plan, parameters) = match point.mode {
            Workload::Infer => {
                let (graph, encoded) = self.inference(shape)?;
                let own = graph.parameters().into_iter().map(|(parameter, _)| parameter).collect();
                let plan = Plan::compile(&graph, &[("encoded", &encoded)], options, capabilities)?;
                (plan, ParameterSet::new(own, optimizer, capabilities.max_binding))
            }
            Workload::Forward => {
                let LossGraph { graph, loss, count, .. } = task.graph(shape, true)?;
                (
                    Plan::compile(&graph, &[("loss", &loss), ("count", &count)], options, capabilities)?,
                    trained,
                )
            }
            Workload::Train | Workload::Finetune => {
                update = Some(update_plan(&trained, optimizer, capabilities)?);
                (training_plan(&*task, shape, false, capabilities)?, trained)
            }
        };
        let plans = || std::iter::once(&plan).chain(&update);
        let slots = Plan::pool_bytes(plans());
        let kinds = point.mode.kinds().len();
        let fixed: Vec<u64> = plan.constant_bytes().chain(plans().map(Plan::uniform_bytes)).collect();
        let totals = if point.mode.updates() { Trainer::totals_bytes(options.compute) } else { 0 };
        let estimate = Estimate {
            parameters: trainable,
            flops: plan.flops(),
            peak_bytes: slots.iter().chain(&fixed).sum::<u64>() + parameters.bytes(kinds) + totals,
            slot_bytes: plan.peak_bytes(),
            lower_bound_bytes: plan.lower_bound,
            largest_buffer: slots.iter().chain(&fixed).copied().max().unwrap_or(0),
            dispatches: plan.dispatches.len(),
            bound_bytes: plan.dispatches.iter().map(Dispatch::bytes).sum(),
        };
        Ok(Planned { plan, estimate, update, task, parameters })
    }

    /// The graph of the encoder and its output.
    fn inference(&self, shape: BatchShape) -> Result<(Graph, Tensor)> {
        let model = &self.recipe.model;
        let graph = Graph::new();
        let scope = graph.root();
        let ctx = Context::new(&scope, shape.utterances, shape.time(), Mode::Inference, model.padding);
        let features = scope.input("features", Spec::f32([shape.utterances, shape.frames, BANDS]));
        let encoded = Encoder::new(model, BANDS).forward(&scope, &ctx, &features)?;
        Ok((graph, encoded.output))
    }
}

/// Why a run that needs `estimate` would fail on this device, as far as that is known beforehand. `available`: bytes
/// of memory that the system can give, which is also the device's unless it has memory of its own.
fn obstacle(estimate: &Estimate, capabilities: &Capabilities, available: Option<u64>) -> Option<String> {
    let (buffer, most) = (estimate.largest_buffer, capabilities.max_buffer);
    if buffer > most {
        let name = &capabilities.adapter;
        return Some(format!("holds a buffer of {:.2} GiB, {name} allows {:.2} GiB", gib(buffer), gib(most)));
    }
    // The rest of the process and what the driver keeps need a little, too.
    let room = available.filter(|_| capabilities.class != DeviceClass::Discrete)?;
    (estimate.peak_bytes as f64 > 0.9 * room as f64).then(|| {
        format!("holds {:.2} GiB, {:.2} GiB of memory are free", gib(estimate.peak_bytes), gib(room))
    })
}

/// Bytes in GiB.
pub fn gib(bytes: u64) -> f64 {
    bytes as f64 / (1_u64 << 30) as f64
}

/// A failure that concerns one row alone: the device has no room for it.
fn no_room(error: Error) -> Result<String> {
    match error {
        Error::OutOfMemory(reason) => Ok(reason),
        error => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn obstacles_are_known_beforehand() {
        let shared = Capabilities { class: DeviceClass::Integrated, ..Capabilities::assumed() };
        let own = Capabilities::assumed();
        let estimate = Estimate {
            parameters: 1,
            flops: 1,
            peak_bytes: 3 << 30,
            slot_bytes: 1 << 30,
            lower_bound_bytes: 1 << 30,
            largest_buffer: 200 << 20,
            dispatches: 1,
            bound_bytes: 1,
        };
        let reason = |estimate: &Estimate, capabilities: &Capabilities, gib: Option<u64>| {
            obstacle(estimate, capabilities, gib.map(|gib| gib << 30)).unwrap_or_default()
        };
        assert_eq!(reason(&estimate, &shared, Some(4)), "");
        assert_eq!(reason(&estimate, &shared, Some(3)), "holds 3.00 GiB, 3.00 GiB of memory are free");
        assert_eq!(reason(&estimate, &shared, None), "");
        // How much memory of its own a device has is not known.
        assert_eq!(reason(&estimate, &own, Some(3)), "");
        let large = Estimate { largest_buffer: 300 << 20, ..estimate };
        assert!(reason(&large, &own, Some(64)).contains("a buffer of 0.29 GiB"));
    }

    #[test]
    fn lengths_make_whole_encoder_frames() {
        for (seconds, frames) in [(0.1, 12), (1.1, 112), (10.0, 1004), (80.0, 8004)] {
            let point = Point { seconds, batch: 3, mode: Workload::Finetune };
            assert_eq!(point.shape(), BatchShape { utterances: 3, frames });
            assert!(point.characters() <= point.shape().time().max(2) / 2);
        }
    }
}
