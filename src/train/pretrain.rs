//! BEST-RQ: the loss on masked frames and its inputs.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use pollster::block_on;

use super::metrics::Phase;
use super::objective::{BatchShape, InputData, Inputs, LossGraph, Objective, Results};
use super::task::{Measure, Task, Totals, common_inputs, layer_drop_inputs};
use crate::audio::BANDS;
use crate::data::Batch;
use crate::error::Result;
use crate::exec::{Executor, Loaded, Plan, PlanOptions};
use crate::graph::Graph;
use crate::models::{BestRq, Encoder, ModelKind, STRIDE, mask_starts, most_masked};
use crate::nn::{Context, Mode};
use crate::recipe::{ModelConfig, ModelOptions, PretrainConfig};
use crate::rng::{Rng, stream};
use crate::shape::Spec;

/// BEST-RQ pre-training.
#[derive(Debug, Clone)]
pub struct Pretrain {
    /// The encoder's architecture.
    pub model: ModelConfig,
    /// How the encoder is trained.
    pub options: ModelOptions,
    /// Quantizer, masking.
    pub config: PretrainConfig,
    /// Seed of masks, noise and dropout.
    pub seed: u32,
}

impl Objective for Pretrain {
    fn plan_options(&self) -> PlanOptions {
        self.options.plan
    }

    fn graph(&self, shape: BatchShape, training: bool) -> Result<LossGraph> {
        let graph = Graph::new();
        let scope = graph.root();
        let dropout = self.config.dropout.unwrap_or(self.options.dropout);
        let mode = match training {
            true => Mode::Training { dropout, layer_drop: self.options.layer_drop },
            false => Mode::Inference,
        };
        let ctx = Context::new(&scope, shape.utterances, shape.time(), mode, self.model.padding);
        let model =
            BestRq::new(Encoder::new(&self.model, BANDS), BANDS, self.config.codes, self.config.code_dim);
        let features = scope.input("features", Spec::f32([shape.utterances, shape.frames, BANDS]));
        let masked = BestRq::mask(&scope, &ctx, &features, self.config.noise_std)?;
        let inputs = BestRq::inputs(&scope, &ctx, most_masked(ctx.time * STRIDE, &self.config));
        let result = model.loss(&scope, &ctx, &features, &masked, &inputs)?;
        Ok(LossGraph { graph, loss: result.loss, count: result.correct, logits: None, embeddings: None })
    }
}

impl Task for Pretrain {
    fn phase(&self) -> Phase {
        Phase::Pretrain
    }

    fn measure(&self) -> Measure {
        Measure::Loss
    }

    fn kind(&self) -> ModelKind {
        ModelKind::BestRq { codes: self.config.codes, code_dim: self.config.code_dim }
    }

    fn inputs(&self, batch: &Batch, step: u64, micro: u32, training: bool) -> Result<(Inputs, usize)> {
        let shape = BatchShape::of(batch);
        let time = shape.time();
        let words =
            [self.seed, step as u32, micro, stream(if training { "mask" } else { "validation mask" })];
        let mut inputs = common_inputs(batch, self.seed, step, micro);
        inputs.extend(layer_drop_inputs(self.model.layers, self.options.layer_drop, &words));

        let rows: Vec<usize> = (0..batch.utterances).filter(|&row| batch.lengths[row] > 0).collect();
        let shortest = rows.iter().map(|&row| batch.lengths[row] as usize).min().unwrap_or(0);
        let masked = match rows.is_empty() {
            true => Vec::new(),
            false => mask_starts(shortest, &self.config, &mut Rng::new(&words)),
        };
        let mut mask = vec![0; time];
        masked.iter().for_each(|&t| mask[t as usize] = 1);
        let mut selected: Vec<u32> =
            rows.iter().flat_map(|&row| masked.iter().map(move |&t| row as u32 * time as u32 + t)).collect();
        let count = selected.len();
        // Rows behind the count gather nothing.
        selected.resize(shape.utterances * most_masked(time * STRIDE, &self.config), u32::MAX);
        inputs.push(("mask".into(), InputData::U32(mask)));
        inputs.push(("selected".into(), InputData::U32(selected)));
        inputs.push(("selected_count".into(), InputData::U32(vec![count as u32])));
        Ok((inputs, count))
    }

    /// The entropy of the codes: the loss of a model that learns no more than how often each code comes.
    fn data_statistics(
        &self,
        executor: &mut Executor,
        next: &mut dyn FnMut() -> Option<Result<Batch>>,
    ) -> Result<Option<String>> {
        let mut plans: HashMap<BatchShape, Loaded> = HashMap::new();
        let mut counts = vec![0_u64; self.config.codes];
        while let Some(batch) = next() {
            let batch = batch?;
            let shape = BatchShape::of(&batch);
            let loaded = match plans.entry(shape) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(new) => {
                    let graph = Graph::new();
                    let scope = graph.root();
                    let features =
                        scope.input("features", Spec::f32([shape.utterances, shape.frames, BANDS]));
                    let stacked = features.reshape([shape.utterances * shape.time(), STRIDE * BANDS])?;
                    let model = BestRq::new(
                        Encoder::new(&self.model, BANDS),
                        BANDS,
                        self.config.codes,
                        self.config.code_dim,
                    );
                    let codes = model.codes(&scope, &stacked)?;
                    let plan = Plan::compile(
                        &graph,
                        &[("codes", &codes)],
                        self.options.plan,
                        executor.gpu().capabilities(),
                    )?;
                    new.insert(block_on(executor.load(plan))?)
                }
            };
            executor.write_input(loaded, "features", &batch.features)?;
            executor.run(loaded)?;
            let codes: Vec<u32> = block_on(executor.read(loaded, "codes"))?;
            for (row, &frames) in codes.chunks(shape.time()).zip(&batch.lengths) {
                for &code in &row[..(frames as usize / STRIDE).min(row.len())] {
                    counts[(code as usize).min(self.config.codes - 1)] += 1;
                }
            }
        }
        let total = counts.iter().sum::<u64>().max(1) as f64;
        let shares = counts.iter().filter(|&&count| count > 0).map(|&count| count as f64 / total);
        let entropy: f64 = shares.clone().map(|share| -share * share.ln()).sum();
        let most = shares.clone().fold(0.0, f64::max);
        Ok(Some(format!(
            "codes of the training data: entropy {entropy:.3} nats, {} of {} used, the commonest {:.1} %",
            shares.count(),
            counts.len(),
            100.0 * most
        )))
    }

    fn update_metrics(
        &self,
        totals: &mut Totals,
        batch: &Batch,
        predictions: usize,
        results: &Results,
    ) -> Result<()> {
        let rows = batch.lengths.iter().filter(|&&length| length > 0).count();
        totals.rows += rows;
        totals.loss_rows += rows;
        totals.loss += results.loss * predictions as f64;
        totals.weight += predictions as f64;
        totals.correct += results.count;
        Ok(())
    }
}
