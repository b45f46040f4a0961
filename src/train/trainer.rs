//! Optimizer steps on the device: one plan a batch shape, one for the update.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use web_time::Instant;

#[cfg(feature = "cli")]
use super::collective::Exchange;
use super::loss_scale::{GROWTH_INTERVAL, LOSS_SCALE, LossScale};
use super::objective::{BatchShape, InputData, Inputs, LossGraph, Objective, Results};
use super::parameters::{Group, Kind, ParameterSet};
use super::schedule::Rates;
use crate::autograd::gradients;
use crate::error::{Error, Result};
use crate::exec::{Compute, Executor, Loaded, Plan, PlanOptions, arena_bytes};
use crate::gpu::Capabilities;
use crate::graph::{Graph, Tensor};
use crate::models::Handover;
use crate::ops::optimizer::{Accumulate, AdamW, ClipGradNorm, GrowLossScale, SquaredNorm};
use crate::recipe::OptimizerConfig;
use crate::shape::Spec;

/// Runs micro-batches and updates.
#[derive(Debug)]
pub struct Trainer {
    /// The device's side.
    pub executor: Executor,
    /// The model's parameters.
    pub parameters: ParameterSet,
    config: OptimizerConfig,
    /// By shape and whether the gradient is added to what is there.
    plans: HashMap<(BatchShape, bool), Loaded>,
    validation: HashMap<BatchShape, (Loaded, Option<Handover>)>,
    update: Loaded,
    /// Memory of the exchange between ranks, where there are several.
    #[cfg(feature = "cli")]
    pub(super) exchange: Option<Exchange>,
}

/// Sums over the steps since they were last taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct StepTotals {
    /// Sum of the micro-batches' losses.
    pub loss: f64,
    /// Sum of their counts.
    pub count: f64,
    /// Sum of the finite gradients' norms before clipping, one a step.
    pub grad_norm: f64,
    /// Steps whose gradient was not finite; their update was left out.
    pub non_finite: f64,
}

pub(super) const LOSS_TOTALS: &str = "totals.loss";
pub(super) const UPDATE_TOTALS: &str = "totals.update";

#[cfg(feature = "cli")]
impl StepTotals {
    /// Their bits, which a message keeps where they are not finite.
    pub(super) fn to_bits(self) -> [u64; 4] {
        [self.loss, self.count, self.grad_norm, self.non_finite].map(f64::to_bits)
    }

    /// The totals of these bits.
    pub(super) fn from_bits(bits: [u64; 4]) -> Self {
        let [loss, count, grad_norm, non_finite] = bits.map(f64::from_bits);
        Self { loss, count, grad_norm, non_finite }
    }
}

impl Trainer {
    /// Places the parameters on the device; their values are undefined until they are filled.
    ///
    /// # Errors
    /// When the model cannot be built or the device has no room.
    pub async fn new(
        executor: Executor,
        objective: &dyn Objective,
        config: &OptimizerConfig,
    ) -> Result<Self> {
        let most = executor.gpu().capabilities().max_binding;
        Self::bounded(executor, objective, config, most).await
    }

    /// As [`Trainer::new`], with the parameters in parts of at most `most` bytes, as the least of several devices binds.
    ///
    /// # Errors
    /// As [`Trainer::new`].
    pub async fn bounded(
        mut executor: Executor,
        objective: &dyn Objective,
        config: &OptimizerConfig,
        most: u64,
    ) -> Result<Self> {
        let gpu = executor.gpu().clone();
        let parameters = ParameterSet::of(objective, config, most)?;
        parameters.allocate(&mut executor, &Kind::ALL)?;
        for (name, spec) in Self::stored_beside(parameters.compute) {
            executor.store.arena(&gpu, name, &[(name.into(), spec)])?;
        }
        if let Some(LossScale { scale, finite_steps }) = LossScale::of(parameters.compute) {
            executor.store.write(&gpu, LOSS_SCALE, &[scale, finite_steps])?;
        }
        let plan = update_plan(&parameters, config, gpu.capabilities())?;
        let update = executor.load(plan).await?;
        let (plans, validation) = (HashMap::new(), HashMap::new());
        let config = config.clone();
        Ok(Self {
            executor,
            parameters,
            config,
            plans,
            validation,
            update,
            #[cfg(feature = "cli")]
            exchange: None,
        })
    }

    /// What the device sums up, and the scale of the loss, where there is one.
    fn stored_beside(compute: Compute) -> impl Iterator<Item = (&'static str, Spec)> {
        let scale = LossScale::of(compute).map(|_| (LOSS_SCALE, LossScale::spec()));
        [(LOSS_TOTALS, Spec::f32([2])), (UPDATE_TOTALS, Spec::f32([3]))].into_iter().chain(scale)
    }

    /// Bytes that it holds on the device beside the parameters and what belongs to plans.
    pub fn totals_bytes(compute: Compute) -> u64 {
        Self::stored_beside(compute).map(|(_, spec)| arena_bytes(&spec)).sum()
    }

    /// Makes the plan of a batch shape, where the gradient is added to that of earlier micro-batches if
    /// `accumulate`.
    ///
    /// # Errors
    /// When the model cannot be built within the device's limits, or memory is out.
    pub async fn prepare(
        &mut self,
        objective: &dyn Objective,
        shape: BatchShape,
        accumulate: bool,
    ) -> Result<()> {
        if !self.plans.contains_key(&(shape, accumulate)) {
            let begun = Instant::now();
            let plan = training_plan(objective, shape, accumulate, self.executor.gpu().capabilities())?;
            let loaded = self
                .load(plan, if accumulate { "further training" } else { "training" }, shape, begun)
                .await?;
            self.plans.insert((shape, accumulate), loaded);
        }
        Ok(())
    }

    /// Makes the plan of a validation batch.
    ///
    /// # Errors
    /// When the model cannot be built within the device's limits, or memory is out.
    pub async fn prepare_validation(&mut self, objective: &dyn Objective, shape: BatchShape) -> Result<()> {
        if !self.validation.contains_key(&shape) {
            let begun = Instant::now();
            let plan = validation_plan(objective, shape, self.executor.gpu().capabilities())?;
            let loaded = self.load(plan, "validation", shape, begun).await?;
            self.validation.insert(shape, (loaded, objective.handover()));
        }
        Ok(())
    }

    async fn load(&mut self, plan: Plan, what: &str, shape: BatchShape, begun: Instant) -> Result<Loaded> {
        let (dispatches, bytes) = (plan.dispatches.len(), plan.peak_bytes());
        let loaded = self.executor.load(plan).await?;
        tracing::debug!(
            "compiled the {what} plan of {} × {} frames in {:.1} ms: {dispatches} dispatches, {bytes} bytes",
            shape.utterances,
            shape.frames,
            begun.elapsed().as_secs_f64() * 1e3
        );
        Ok(loaded)
    }

    /// Gradient of one micro-batch of a prepared shape, added to that of the step's earlier ones if `accumulate`.
    ///
    /// # Errors
    /// When the device fails.
    pub fn micro_batch(&mut self, shape: BatchShape, inputs: &Inputs, accumulate: bool) -> Result<()> {
        let loaded = self.plans.get_mut(&(shape, accumulate)).ok_or_else(|| unprepared(shape))?;
        write_inputs(&self.executor, loaded, inputs)?;
        self.executor.run(loaded)
    }

    /// Updates the parameters from the gradients of `micro_batches`, as step `step` from 1.
    ///
    /// # Errors
    /// When the device fails.
    pub fn update(&mut self, step: u64, rates: Rates, micro_batches: usize) -> Result<()> {
        let correction = |beta: f64| (1.0 - beta.powf(step as f64)) as f32;
        let mut inputs: Inputs =
            vec![("gradient_scale".into(), InputData::F32(vec![1.0 / micro_batches as f32]))];
        for (index, arena) in self.parameters.arenas.iter().enumerate() {
            let rate = match arena.group {
                Group::Encoder => rates.encoder,
                Group::Head => rates.head,
            };
            let decay = if arena.decays { self.config.weight_decay } else { 0.0 };
            let [first, second] = self.config.betas.map(correction);
            let hyper = vec![rate as f32, decay as f32, first, second];
            inputs.push((format!("hyper.{index}"), InputData::F32(hyper)));
        }
        write_inputs(&self.executor, &self.update, &inputs)?;
        self.executor.run(&mut self.update)
    }

    /// Loss, count and logits of a validation batch of a prepared shape.
    ///
    /// # Errors
    /// When the device fails.
    pub async fn validate(&mut self, shape: BatchShape, inputs: &Inputs) -> Result<Results> {
        let (loaded, handover) = self.validation.get_mut(&shape).ok_or_else(|| unprepared(shape))?;
        write_inputs(&self.executor, loaded, inputs)?;
        self.executor.run(loaded)?;
        let loss: Vec<f32> = self.executor.read(loaded, "loss").await?;
        let count: Vec<f32> = self.executor.read(loaded, "count").await?;
        let handed = match handover {
            Some(handover) => Some(handover.read(&self.executor, loaded).await?),
            None => None,
        };
        let embeds = loaded.plan().outputs.iter().any(|output| output.name == "embeddings");
        let embeddings = if embeds { self.executor.read(loaded, "embeddings").await? } else { Vec::new() };
        Ok(Results { loss: f64::from(loss[0]), count: f64::from(count[0]), handed, embeddings })
    }

    /// The totals so far.
    ///
    /// # Errors
    /// When the device fails.
    pub async fn totals(&self) -> Result<StepTotals> {
        let (store, gpu) = (&self.executor.store, self.executor.gpu());
        let loss: Vec<f32> = store.read(gpu, LOSS_TOTALS).await?;
        let update: Vec<f32> = store.read(gpu, UPDATE_TOTALS).await?;
        Ok(StepTotals {
            loss: f64::from(loss[0]),
            count: f64::from(loss[1]),
            grad_norm: f64::from(update[0]),
            non_finite: f64::from(update[2]),
        })
    }

    /// Sets the totals: to zero after they were logged, to those of a checkpoint on resuming.
    ///
    /// # Errors
    /// When the device fails.
    pub fn set_totals(&self, totals: StepTotals) -> Result<()> {
        let (store, gpu) = (&self.executor.store, self.executor.gpu());
        store.write(gpu, LOSS_TOTALS, &[totals.loss as f32, totals.count as f32])?;
        store.write(gpu, UPDATE_TOTALS, &[totals.grad_norm as f32, 0.0, totals.non_finite as f32])
    }

    /// The scale of the loss, where it has one.
    ///
    /// # Errors
    /// When the device fails.
    pub async fn loss_scale(&self) -> Result<Option<LossScale>> {
        if LossScale::of(self.parameters.compute).is_none() {
            return Ok(None);
        }
        let state: Vec<f32> = self.executor.store.read(self.executor.gpu(), LOSS_SCALE).await?;
        Ok(Some(LossScale { scale: state[0], finite_steps: state[1] }))
    }

    /// Sets the scale of the loss to that of a checkpoint.
    ///
    /// # Errors
    /// When the device fails.
    pub fn set_loss_scale(&self, LossScale { scale, finite_steps }: LossScale) -> Result<()> {
        self.executor.store.write(self.executor.gpu(), LOSS_SCALE, &[scale, finite_steps])
    }

    /// Number of plans, one a batch shape.
    pub fn plans(&self) -> usize {
        self.plans.len()
    }
}

fn unprepared(BatchShape { utterances, frames }: BatchShape) -> Error {
    Error::invalid(format!(
        "a batch of {utterances} rows of {frames} frames has no plan; report this as a defect"
    ))
}

/// The plan of a micro-batch: loss, gradients into their arenas (added to what is there if `accumulate`), totals.
///
/// # Errors
/// When the model cannot be built within the device's limits.
pub fn training_plan(
    objective: &dyn Objective,
    shape: BatchShape,
    accumulate: bool,
    capabilities: &Capabilities,
) -> Result<Plan> {
    let options = objective.plan_options();
    let LossGraph { graph, loss, count, .. } = objective.graph(shape, true)?;
    let parameters: Vec<(String, Tensor)> = graph
        .parameters()
        .into_iter()
        .filter(|(parameter, _)| parameter.trainable)
        .map(|(parameter, tensor)| (parameter.name, tensor))
        .collect();
    let wrt: Vec<&Tensor> = parameters.iter().map(|(_, tensor)| tensor).collect();
    let cotangent = match LossScale::of(options.compute) {
        Some(_) => LossScale::stored(&graph).slice(0, 0, 1)?,
        None => graph.fill([1], 1.0)?,
    };
    for ((name, _), gradient) in parameters.iter().zip(gradients(&[(&loss, &cotangent)], &wrt)?) {
        // A parameter that the loss does not reach keeps its zero gradient.
        let Some(gradient) = gradient else { continue };
        if accumulate {
            let target = graph.stored(Kind::Gradient.of(name), gradient.spec().clone());
            target.apply(Accumulate, &[&gradient])?;
        } else {
            gradient.store(Kind::Gradient.of(name))?;
        }
    }
    let totals = graph.stored(LOSS_TOTALS, Spec::f32([2]));
    totals.apply(Accumulate, &[&Tensor::concat(&[&loss, &count], 0)?])?;
    Plan::compile(&graph, &[], options, capabilities)
}

/// The plan of a validation batch.
///
/// # Errors
/// When the model cannot be built within the device's limits.
pub(super) fn validation_plan(
    objective: &dyn Objective,
    shape: BatchShape,
    capabilities: &Capabilities,
) -> Result<Plan> {
    let LossGraph { graph, loss, count, logits, embeddings } = objective.graph(shape, false)?;
    let mut outputs = match (objective.handover(), &logits) {
        (Some(handover), Some(logits)) => handover.outputs(logits)?,
        _ => Vec::new(),
    };
    outputs.extend(embeddings.map(|embeddings| ("embeddings".to_owned(), embeddings)));
    let mut named = vec![("loss", &loss), ("count", &count)];
    named.extend(outputs.iter().map(|(name, tensor)| (name.as_str(), tensor)));
    Plan::compile(&graph, &named, objective.plan_options(), capabilities)
}

/// Writes those of `inputs` that the plan reads.
///
/// # Errors
/// When a length differs.
pub fn write_inputs(executor: &Executor, loaded: &Loaded, inputs: &Inputs) -> Result<()> {
    for (name, data) in inputs.iter().filter(|(name, _)| executor.takes(loaded, name)) {
        match data {
            InputData::F32(values) => executor.write_input(loaded, name, values)?,
            InputData::U32(values) => executor.write_input(loaded, name, values)?,
        }
    }
    Ok(())
}

/// The plan of an update: global norm, clip, AdamW over every arena.
///
/// # Errors
/// When an arena passes the device's limits.
pub fn update_plan(
    parameters: &ParameterSet,
    config: &OptimizerConfig,
    capabilities: &Capabilities,
) -> Result<Plan> {
    let graph = Graph::new();
    let stored =
        |kind: Kind, index: usize| graph.stored(kind.arena(index), Spec::f32(parameters.arena_shape(index)));
    let arenas = 0..parameters.arenas.len();
    let norms: Vec<Tensor> = arenas
        .clone()
        .map(|index| stored(Kind::Gradient, index).apply(SquaredNorm, &[]))
        .collect::<Result<_>>()?;
    let norms = match norms.as_slice() {
        [one] => one.clone(),
        all => Tensor::concat(&all.iter().collect::<Vec<_>>(), 0)?,
    };
    let mut gradient_scale = graph.input("gradient_scale", Spec::f32([1]));
    let loss_scale = LossScale::of(parameters.compute).map(|_| LossScale::stored(&graph));
    if let Some(state) = &loss_scale {
        gradient_scale = gradient_scale.div(&state.slice(0, 0, 1)?)?;
    }
    let stats = norms.apply(ClipGradNorm { clip: config.clip as f32 }, &[&gradient_scale])?;
    let op = AdamW { beta1: config.betas[0], beta2: config.betas[1], eps: config.eps };
    for index in arenas {
        let hyper = graph.input(format!("hyper.{index}"), Spec::f32([4]));
        let [value, gradient, first, second] =
            [Kind::Value, Kind::Gradient, Kind::First, Kind::Second].map(|kind| stored(kind, index));
        graph.apply(std::sync::Arc::new(op), &[&value, &gradient, &first, &second, &stats, &hyper])?;
    }
    let totals = graph.stored(UPDATE_TOTALS, Spec::f32([3]));
    totals.apply(Accumulate, &[&stats])?;
    if let Some(state) = &loss_scale {
        state.apply(GrowLossScale { growth_interval: GROWTH_INTERVAL }, &[&stats])?;
    }
    Plan::compile(&graph, &[], PlanOptions::default(), capabilities)
}
