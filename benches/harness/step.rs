//! A whole training step of a model that names a class of every frame.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use pollster::block_on;
use polymix::audio::BANDS;
use polymix::data::{Batch, BatchIndex};
use polymix::exec::{Executor, PlanOptions};
use polymix::gpu::Gpu;
use polymix::graph::{Graph, Scope, Tensor};
use polymix::models::{Encoder, ModelKind};
use polymix::nn::{Context, FeedForward, LayerNorm, Linear, Mixer, Mode, RegularAttention};
use polymix::ops::map::ActivationKind;
use polymix::recipe::{Initialization, ModelConfig, ModelOptions, PaddedFrames, PretrainConfig};
use polymix::rng::Rng;
use polymix::shape::Spec;
use polymix::train::metrics::Phase;
use polymix::train::{
    BatchShape, InputData, Inputs, LossGraph, Measure, Objective, Rates, Results, StepTotals, Task, Totals,
    Trainer, common_inputs,
};
use polymix::{Error, Result};

/// Classes of the head.
pub const CLASSES: usize = 1024;
/// Learning rate.
pub const RATE: f64 = 1e-4;

/// Encoder → Linear → cross-entropy over all frames.
#[derive(Debug)]
pub enum Classify {
    /// The encoder of a recipe.
    Conformer(ModelConfig),
    /// [`Transformer`].
    Transformer(Transformer),
}

/// Four frames side by side → Linear → layers of attention and feed-forward module (SiLU), each behind a LayerNorm and
/// with a residual → LayerNorm; without positions and dropout.
#[derive(Debug, Clone, Copy)]
pub struct Transformer {
    /// Model width d.
    pub width: usize,
    /// Heads of the attention.
    pub heads: usize,
    /// Inner width of the feed-forward module.
    pub hidden: usize,
    /// Layers.
    pub layers: usize,
}

/// Frames that the transformer takes side by side, as many as a Conformer's front-end makes one of.
pub const STACKED: usize = 4;

impl Transformer {
    fn forward(&self, scope: &Scope, ctx: &Context, features: &Tensor) -> Result<Tensor> {
        let Self { width, heads, hidden, layers } = *self;
        let initialization = Initialization::Torch;
        let feed_forward = FeedForward { width, hidden, activation: ActivationKind::Silu, initialization };
        let attention = RegularAttention { width, heads, initialization };
        let stacked = features.reshape([ctx.batch, ctx.time, STACKED * BANDS])?;
        let input = Linear::new(STACKED * BANDS, width, initialization);
        let mut x = input.forward(&scope.at("input"), &stacked)?;
        for index in 0..layers {
            let scope = scope.at(format!("layers.{index}"));
            let normalized = LayerNorm::new(width).forward(&scope.at("norm"), &x)?;
            x = x.add(&attention.forward(&scope.at("attention"), ctx, &normalized)?)?;
            x = x.add(&feed_forward.forward(&scope.at("feed_forward"), ctx, &x)?)?;
        }
        LayerNorm::new(width).forward(&scope.at("norm"), &x)
    }
}

impl Objective for Classify {
    fn plan_options(&self) -> PlanOptions {
        PlanOptions::default()
    }

    fn graph(&self, shape: BatchShape, training: bool) -> Result<LossGraph> {
        let ModelOptions { dropout, layer_drop, .. } = ModelOptions::default();
        let (graph, rows) = (Graph::new(), shape.utterances * shape.time());
        let scope = graph.root();
        let mode = match training {
            true => Mode::Training { dropout, layer_drop },
            false => Mode::Inference,
        };
        let context = |mode, padding| Context::new(&scope, shape.utterances, shape.time(), mode, padding);
        let features = scope.input("features", Spec::f32([shape.utterances, shape.frames, BANDS]));
        let (encoded, width) = match self {
            Self::Conformer(model) => {
                let ctx = context(mode, model.padding);
                (Encoder::new(model, BANDS).forward(&scope, &ctx, &features)?.output, model.d_model)
            }
            Self::Transformer(model) => {
                let ctx = context(Mode::Inference, PaddedFrames::Masked);
                (model.forward(&scope.at("encoder"), &ctx, &features)?, model.width)
            }
        };
        let x = encoded.reshape([rows, width])?;
        let head = Linear::new(width, CLASSES, Initialization::Torch);
        let logits = head.forward(&scope.at("head"), &x)?;
        let targets = scope.input("targets", Spec::u32([rows]));
        let (loss, count) = logits.cross_entropy(&targets, &scope.input("count", Spec::u32([1])))?;
        Ok(LossGraph { graph, loss, count, logits: None, embeddings: None })
    }
}

impl Task for Classify {
    fn phase(&self) -> Phase {
        Phase::Pretrain
    }

    fn measure(&self) -> Measure {
        Measure::Accuracy
    }

    fn kind(&self) -> ModelKind {
        ModelKind::BestRq { codes: CLASSES, code_dim: 0 }
    }

    fn inputs(&self, batch: &Batch, step: u64, micro: u32, _: bool) -> Result<(Inputs, usize)> {
        let rows = batch.utterances * BatchShape::of(batch).time();
        let mut rng = Rng::new(&[7]);
        let targets = (0..rows).map(|_| rng.below(CLASSES) as u32).collect();
        let mut inputs = common_inputs(batch, 0, step, micro);
        inputs.push(("targets".into(), InputData::U32(targets)));
        inputs.push(("count".into(), InputData::U32(vec![rows as u32])));
        Ok((inputs, rows))
    }

    fn update_metrics(&self, _: &mut Totals, _: &Batch, _: usize, _: &Results) -> Result<()> {
        Err(Error::invalid("the benchmark's model is not validated"))
    }
}

/// A model on the device with a batch of noise.
pub struct Training {
    trainer: Trainer,
    shape: BatchShape,
    inputs: Inputs,
    steps: u64,
    /// Operations of a step's matmuls and convolutions.
    pub flops: u64,
}

impl Training {
    /// Places the model of `config` and plans its step.
    pub fn new(gpu: &Arc<Gpu>, config: ModelConfig, shape: BatchShape) -> Result<Self> {
        Self::of(gpu, Classify::Conformer(config), shape)
    }

    /// As [`Training::new`], of any of the models.
    pub fn of(gpu: &Arc<Gpu>, task: Classify, shape: BatchShape) -> Result<Self> {
        let optimizer = PretrainConfig::default().optimizer;
        let mut trainer = block_on(Trainer::new(Executor::new(gpu.clone()), &task, &optimizer))?;
        trainer.parameters.fill(&trainer.executor, None, 0)?;
        block_on(trainer.prepare(&task, shape, false))?;
        let flops = polymix::train::training_plan(&task, shape, false, gpu.capabilities())?.flops();
        let mut rng = Rng::new(&[1]);
        let batch = Batch {
            utterances: shape.utterances,
            frames: shape.frames,
            features: (0..shape.utterances * shape.frames * BANDS).map(|_| rng.normal() as f32).collect(),
            lengths: vec![shape.frames as u32; shape.utterances],
            texts: vec![None; shape.utterances],
            ids: vec![Vec::new(); shape.utterances],
            audio_seconds: 0.0,
            index: BatchIndex::default(),
        };
        let (inputs, _) = task.inputs(&batch, 1, 0, true)?;
        Ok(Self { trainer, shape, inputs, steps: 0, flops })
    }

    /// Milliseconds of a step: forward, backward, update.
    pub fn step(&mut self) -> Result<f64> {
        let gpu = self.trainer.executor.gpu().clone();
        gpu.wait()?;
        let begun = Instant::now();
        self.steps += 1;
        self.trainer.micro_batch(self.shape, &self.inputs, false)?;
        self.trainer.update(self.steps, Rates { encoder: RATE, head: RATE }, 1)?;
        gpu.wait()?;
        Ok(1e3 * begun.elapsed().as_secs_f64())
    }

    /// The loss of a step.
    pub fn loss(&mut self) -> Result<f32> {
        self.trainer.set_totals(StepTotals::default())?;
        self.step()?;
        Ok(block_on(self.trainer.totals())?.loss as f32)
    }

    /// The parameters by name.
    pub fn parameters(&self) -> Result<HashMap<String, Vec<f32>>> {
        let Executor { store, .. } = &self.trainer.executor;
        let gpu = self.trainer.executor.gpu();
        let members = self.trainer.parameters.arenas.iter().flat_map(|arena| &arena.members);
        members.map(|member| Ok((member.name.clone(), block_on(store.read(gpu, &member.name))?))).collect()
    }

    /// The batch: features and the classes of its frames.
    pub fn batch(&self) -> Result<(&[f32], &[u32])> {
        let input = |wanted: &str| self.inputs.iter().find(|(name, _)| name == wanted).map(|(_, data)| data);
        match (input("features"), input("targets")) {
            (Some(InputData::F32(features)), Some(InputData::U32(targets))) => Ok((features, targets)),
            _ => Err(Error::invalid("the batch has no features or no targets")),
        }
    }
}
