//! CTC: the loss on transcripts and its inputs.

use super::metrics::Phase;
use super::task::{
    BatchShape, Feed, Feeds, LossGraph, Results, Task, Totals, common_feeds, layer_drop_feeds,
};
use crate::audio::BANDS;
use crate::data::Batch;
use crate::error::{Error, Result};
use crate::graph::Graph;
use crate::models::{CtcHead, CtcModel, Encoder, ModelKind, STRIDE};
use crate::nn::{Context, Mode};
use crate::recipe::{FinetuneConfig, ModelConfig};
use crate::rng::stream;
use crate::shape::Spec;
use crate::text::{Vocabulary, greedy, normalize, score};

/// CTC fine-tuning.
#[derive(Debug, Clone)]
pub struct Finetune {
    /// The encoder.
    pub model: ModelConfig,
    /// The head and its loss.
    pub config: FinetuneConfig,
    /// Tokens.
    pub vocabulary: Vocabulary,
    /// Room for the longest target.
    pub capacity: usize,
    /// Seed of dropout.
    pub seed: u32,
}

impl Finetune {
    fn head(&self) -> CtcHead {
        CtcHead::new(&self.config, self.vocabulary.len())
    }
}

impl Task for Finetune {
    fn phase(&self) -> Phase {
        Phase::Finetune
    }

    fn kind(&self) -> ModelKind {
        ModelKind::Ctc(self.head())
    }

    fn graph(&self, shape: BatchShape, training: bool) -> Result<LossGraph> {
        let graph = Graph::of(&self.model);
        let scope = graph.root();
        let dropout = self.config.dropout.unwrap_or(self.model.dropout);
        let mode = match training {
            true => Mode::Training { dropout, layer_drop: self.model.layer_drop },
            false => Mode::Inference,
        };
        let ctx = Context::new(&scope, shape.utterances, shape.time(), mode, self.model.padding);
        let model = CtcModel::new(Encoder::new(&self.model, BANDS)?, self.head());
        let features = scope.input("features", Spec::f32([shape.utterances, shape.frames, BANDS]));
        let (logits, _) = model.forward(&scope, &ctx, &features)?;
        let (loss, count) = model.loss(&scope, &ctx, &logits, self.capacity, self.config.zero_infinity)?;
        let outputs = match training {
            true => Vec::new(),
            false => {
                let rows = shape.utterances * shape.time();
                let (ids, _) = logits.reshape([rows, self.vocabulary.len()])?.argmax()?;
                vec![("ids", ids)]
            }
        };
        Ok(LossGraph { graph, loss, count, outputs })
    }

    fn feeds(&self, batch: &Batch, step: u64, micro: u32, _: bool) -> Result<(Feeds, usize)> {
        let words = [self.seed, step as u32, micro, stream("layer drop")];
        let mut feeds = common_feeds(batch, self.seed, step, micro);
        feeds.extend(layer_drop_feeds(self.model.layers, self.model.layer_drop, &words));
        let mut targets = vec![0; batch.utterances * self.capacity];
        let (mut lengths, mut weights) = (vec![0; batch.utterances], vec![0.0; batch.utterances]);
        let rows = batch.lengths.iter().filter(|&&length| length > 0).count();
        for (row, text) in batch.texts.iter().enumerate() {
            let Some(text) = text.as_ref().filter(|_| batch.lengths[row] > 0) else { continue };
            let ids = self.vocabulary.encode(text)?;
            if ids.len() > self.capacity {
                let message = format!("a text of {} tokens passes the room for {}", ids.len(), self.capacity);
                return Err(Error::invalid(message));
            }
            targets[row * self.capacity..row * self.capacity + ids.len()].copy_from_slice(&ids);
            lengths[row] = ids.len() as u32;
            weights[row] = 1.0 / (rows * ids.len().max(1)) as f32;
        }
        feeds.push(("targets".into(), Feed::U32(targets)));
        feeds.push(("target_lengths".into(), Feed::U32(lengths)));
        feeds.push(("loss_weights".into(), Feed::F32(weights)));
        Ok((feeds, 0))
    }

    fn observe(&self, totals: &mut Totals, batch: &Batch, _: usize, results: &Results) -> Result<()> {
        let time = BatchShape::of(batch).time();
        let mut rows = 0;
        for (row, text) in batch.texts.iter().enumerate() {
            let frames = (batch.lengths[row] as usize).div_ceil(STRIDE);
            let Some(text) = text.as_ref().filter(|_| frames > 0) else { continue };
            let ids = results.ids.get(row * time..row * time + frames);
            let ids = ids.ok_or_else(|| Error::invalid("validation returned too few decisions"))?;
            totals.scores.push(score(&normalize(text), &self.vocabulary.decode(&greedy(ids))));
            rows += 1;
        }
        totals.loss += results.loss * f64::from(rows);
        totals.weight += f64::from(rows);
        Ok(())
    }
}
