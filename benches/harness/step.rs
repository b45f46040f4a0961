//! A whole training step of a Conformer that names a class of every frame.

use std::sync::Arc;
use std::time::Instant;

use pollster::block_on;
use polymix::audio::BANDS;
use polymix::data::{Batch, BatchIndex};
use polymix::exec::{Executor, PlanOptions};
use polymix::gpu::Gpu;
use polymix::graph::Graph;
use polymix::models::{Encoder, ModelKind};
use polymix::nn::{Context, Linear, Mode};
use polymix::recipe::{Initialization, ModelConfig, ModelOptions, PretrainConfig};
use polymix::rng::Rng;
use polymix::shape::Spec;
use polymix::train::metrics::Phase;
use polymix::train::{
    BatchShape, InputData, Inputs, LossGraph, Measure, Objective, Rates, Results, Task, Totals, Trainer,
    common_inputs,
};
use polymix::{Error, Result};

/// Classes of the head.
pub const CLASSES: usize = 1024;

/// Encoder → Linear → cross-entropy over all frames.
#[derive(Debug)]
pub struct Classify(pub ModelConfig);

impl Objective for Classify {
    fn plan_options(&self) -> PlanOptions {
        PlanOptions::default()
    }

    fn graph(&self, shape: BatchShape, training: bool) -> Result<LossGraph> {
        let Self(model) = self;
        let ModelOptions { dropout, layer_drop, .. } = ModelOptions::default();
        let (graph, rows) = (Graph::new(), shape.utterances * shape.time());
        let scope = graph.root();
        let mode = match training {
            true => Mode::Training { dropout, layer_drop },
            false => Mode::Inference,
        };
        let ctx = Context::new(&scope, shape.utterances, shape.time(), mode, model.padding);
        let features = scope.input("features", Spec::f32([shape.utterances, shape.frames, BANDS]));
        let encoded = Encoder::new(model, BANDS).forward(&scope, &ctx, &features)?;
        let x = encoded.output.reshape([rows, model.d_model])?;
        let head = Linear::new(model.d_model, CLASSES, Initialization::Torch);
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
        let task = Classify(config);
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
        self.trainer.update(self.steps, Rates { encoder: 1e-4, head: 1e-4 }, 1)?;
        gpu.wait()?;
        Ok(1e3 * begun.elapsed().as_secs_f64())
    }
}
