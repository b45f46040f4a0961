//! Linear probes of each layer of a frozen model.

use std::sync::Arc;

use pollster::block_on;

use super::objective::{BatchShape, InputData, Inputs, LossGraph, Objective};
use super::schedule::Schedule;
use super::stop;
use super::trainer::Trainer;
use crate::error::{Error, Result};
use crate::exec::{Executor, PlanOptions};
use crate::gpu::Gpu;
use crate::graph::{Graph, Init, Tensor};
use crate::models::Handover;
use crate::nn::LayerSum;
use crate::recipe::{FinetuneConfig, OptimizerConfig, ScheduleConfig};
use crate::rng::{Rng, stream};
use crate::shape::Spec;

/// Utterances of a step.
const BATCH: usize = 128;
/// The rate of the first steps.
const RATE: f64 = 1e-2;

/// What probes are trained and tested on: of each utterance the statistics of every layer.
#[derive(Debug, Clone, Default)]
pub struct ProbeData {
    /// [utterances, layers, width], row-major.
    pub statistics: Vec<f32>,
    /// The class of each utterance.
    pub classes: Vec<usize>,
}

/// The results of probes.
#[derive(Debug, Clone, PartialEq)]
pub struct Probed {
    /// The class of each test utterance as each layer's probe has it, and behind them that of the weighted sum.
    pub predicted: Vec<Vec<usize>>,
    /// The weight of each layer in the sum.
    pub weights: Vec<f32>,
}

/// A Linear from the statistics of each layer to the classes, and one from their weighted sum; none of them sees another.
struct Probes {
    layers: usize,
    width: usize,
    classes: usize,
}

impl Probes {
    /// The logits of each layer's probe and of the sum's, [batch, classes].
    fn logits(&self, graph: &Graph, batch: usize) -> Result<Vec<Tensor>> {
        let scope = graph.root();
        let all = scope.input("statistics", Spec::f32([batch, self.layers, self.width]));
        let layer = |at: usize| all.slice(1, at, 1)?.reshape([batch, self.width]);
        let layers: Vec<Tensor> = (0..self.layers).map(layer).collect::<Result<_>>()?;
        let sum = LayerSum.forward(&scope, &layers)?;
        let probe = |(at, x): (usize, &Tensor)| {
            let scope = scope.at(format!("probes.{at}"));
            // A convex problem, which needs no luck.
            let zero = Init::Constant(0.0);
            let weight = scope.parameter("weight", [self.classes, self.width], zero)?;
            x.linear(&weight, Some(&scope.parameter("bias", [self.classes], zero)?))
        };
        layers.iter().chain([&sum]).enumerate().map(probe).collect()
    }

    fn inputs(&self, data: &ProbeData, rows: &[usize], batch: usize) -> Inputs {
        let size = self.layers * self.width;
        let (mut statistics, mut targets) = (Vec::with_capacity(batch * size), Vec::with_capacity(batch));
        for &row in rows {
            statistics.extend_from_slice(&data.statistics[row * size..(row + 1) * size]);
            targets.push(data.classes[row] as u32);
        }
        statistics.resize(batch * size, 0.0);
        targets.resize(batch, 0);
        vec![
            ("statistics".into(), InputData::F32(statistics)),
            ("targets".into(), InputData::U32(targets)),
            ("selected_count".into(), InputData::U32(vec![rows.len() as u32])),
        ]
    }
}

impl Objective for Probes {
    fn plan_options(&self) -> PlanOptions {
        PlanOptions::default()
    }

    fn handover(&self) -> Option<Handover> {
        Some(Handover::Best)
    }

    fn graph(&self, shape: BatchShape, training: bool) -> Result<LossGraph> {
        let graph = Graph::new();
        let logits = self.logits(&graph, shape.utterances)?;
        let targets = graph.input("targets", Spec::u32([shape.utterances]));
        let selected = graph.input("selected_count", Spec::u32([1]));
        let losses: Vec<(Tensor, Tensor)> =
            logits.iter().map(|logits| logits.cross_entropy(&targets, &selected)).collect::<Result<_>>()?;
        let mut losses = losses.into_iter();
        let (mut loss, mut count) = losses.next().ok_or_else(|| Error::invalid("there is no layer"))?;
        for (one, right) in losses {
            (loss, count) = (loss.add(&one)?, count.add(&right)?);
        }
        let logits =
            (!training).then(|| Tensor::concat(&logits.iter().collect::<Vec<_>>(), 0)).transpose()?;
        Ok(LossGraph { graph, loss, count, logits, embeddings: None })
    }
}

/// Trains probes of `layers` layers for `steps` steps on `train`, in the order that `seed` draws, and applies them to
/// `test`. Statistics are shifted and scaled so that in training each has mean 0 and variance 1.
///
/// # Errors
/// When there is nothing to train on, a statistic is not finite, the device fails, or a stop is asked for.
pub fn probe(
    gpu: Arc<Gpu>,
    [layers, classes]: [usize; 2],
    mut train: ProbeData,
    mut test: ProbeData,
    [steps, seed]: [u64; 2],
    watch: &mut dyn FnMut(u64),
) -> Result<Probed> {
    let rows = train.classes.len();
    let size = train.statistics.len() / rows.max(1);
    if rows == 0 || layers == 0 || size == 0 {
        return Err(Error::invalid("there is nothing to train a probe on"));
    }
    if train.statistics.iter().chain(&test.statistics).any(|value| !value.is_finite()) {
        return Err(Error::invalid("the model gives a value that is no number; its weights may be damaged"));
    }
    standardize(&mut train.statistics, &mut test.statistics, size);
    let probes = Probes { layers, width: size / layers, classes };
    let config = OptimizerConfig {
        encoder_lr: RATE,
        head_lr: RATE,
        weight_decay: 1e-2,
        // Probes share a step, and none is to clip another.
        clip: 1e9,
        schedule: ScheduleConfig::Cosine { warmup_fraction: 0.0 },
        ..FinetuneConfig::default().optimizer
    };
    let batch = BATCH.min(rows);
    let shape = BatchShape { utterances: batch, frames: 1 };
    let mut trainer = block_on(Trainer::new(Executor::new(gpu), &probes, &config))?;
    trainer.parameters.fill(&trainer.executor, None, seed as u32)?;
    block_on(trainer.prepare(&probes, shape, false))?;
    block_on(trainer.prepare_validation(&probes, shape))?;
    let schedule = Schedule::new(&config, steps);
    let mut rng = Rng::new(&[seed as u32, stream("probe")]);
    let (mut order, mut next): (Vec<usize>, usize) = ((0..rows).collect(), rows);
    for step in 1..=steps {
        stop::check()?;
        if next + batch > rows {
            rng.shuffle(&mut order);
            next = 0;
        }
        let inputs = probes.inputs(&train, &order[next..next + batch], batch);
        next += batch;
        trainer.micro_batch(shape, &inputs, false)?;
        trainer.update(step, schedule.rates(step), 1)?;
        watch(step);
    }
    let mut predicted = vec![Vec::with_capacity(test.classes.len()); layers + 1];
    let all: Vec<usize> = (0..test.classes.len()).collect();
    for rows in all.chunks(batch) {
        let results = block_on(trainer.validate(shape, &probes.inputs(&test, rows, batch)))?;
        for (predicted, ids) in predicted.iter_mut().zip(results.best().chunks(batch)) {
            predicted.extend(ids.iter().take(rows.len()).map(|&id| id as usize));
        }
    }
    let values = block_on(trainer.parameters.values(&trainer.executor))?;
    let learned = values.get("layers").map(|(_, values)| values.to_vec()).unwrap_or_default();
    let total: f32 = learned.iter().map(|value| value.exp()).sum();
    let weights: Vec<f32> = learned.iter().map(|value| value.exp() / total).collect();
    if weights.len() != layers || weights.iter().any(|weight| !weight.is_finite()) {
        return Err(Error::invalid("the weights of the layers are not finite; give more data"));
    }
    Ok(Probed { predicted, weights })
}

/// Shifts and scales every `size`-th element so that those of `train` have mean 0 and variance 1.
fn standardize(train: &mut [f32], test: &mut [f32], size: usize) {
    let rows = (train.len() / size) as f64;
    for at in 0..size {
        let column = || train[at..].iter().step_by(size).map(|&value| f64::from(value));
        let mean = column().sum::<f64>() / rows;
        let deviation = (column().map(|value| (value - mean).powi(2)).sum::<f64>() / rows).sqrt();
        // One that never changes tells nothing.
        let gain = if deviation > 1e-6 { 1.0 / deviation } else { 0.0 };
        for values in [&mut *train, &mut *test] {
            for value in values.iter_mut().skip(at).step_by(size) {
                *value = ((f64::from(*value) - mean) * gain) as f32;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_are_standardized_by_those_of_training() {
        let (mut train, mut test) = (vec![1.0, 5.0, 3.0, 5.0], vec![5.0, 6.0]);
        standardize(&mut train, &mut test, 2);
        assert_eq!((train, test), (vec![-1.0, 0.0, 1.0, 0.0], vec![3.0, 0.0]));
        standardize(&mut [1.0, 2.0], &mut [], 2);
    }
}
