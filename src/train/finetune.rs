//! CTC: the loss on transcripts and its inputs.

use std::sync::Arc;

use super::metrics::Phase;
use super::objective::{BatchShape, Inputs, LossGraph, Objective, Results, ctc_inputs};
use super::task::{Measure, Row, Task, Totals, common_inputs, layer_drop_inputs};
use crate::audio::BANDS;
use crate::data::Batch;
use crate::decode::{Decoder, Emissions};
use crate::error::{Error, Result};
use crate::exec::PlanOptions;
use crate::graph::Graph;
use crate::models::{CtcHead, CtcModel, Encoder, Handover, ModelKind, STRIDE};
use crate::nn::{Context, Mode};
use crate::recipe::{FinetuneConfig, ModelConfig, ModelOptions};
use crate::rng::stream;
use crate::shape::Spec;
use crate::text::{Vocabulary, least_frames, normalize, score};

/// CTC fine-tuning.
#[derive(Debug, Clone)]
pub struct Finetune {
    /// The encoder's architecture.
    pub model: ModelConfig,
    /// How the encoder is trained.
    pub options: ModelOptions,
    /// The head and its loss.
    pub config: FinetuneConfig,
    /// Tokens.
    pub vocabulary: Vocabulary,
    /// The decoder of validation.
    pub decoder: Arc<Decoder>,
    /// Room for the longest target.
    pub max_target_length: usize,
    /// Seed of dropout.
    pub seed: u32,
}

impl Finetune {
    fn head(&self) -> CtcHead {
        CtcHead::new(&self.config, self.vocabulary.len())
    }
}

impl Objective for Finetune {
    fn plan_options(&self) -> PlanOptions {
        self.options.plan
    }

    fn handover(&self) -> Option<Handover> {
        Some(Handover::of(self.decoder.token_prune(), self.vocabulary.len()))
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
            CtcModel::new(Encoder::new(&self.model, BANDS).frozen(self.config.freeze_encoder), self.head());
        let features = scope.input("features", Spec::f32([shape.utterances, shape.frames, BANDS]));
        let (logits, _) = model.forward(&scope, &ctx, &features)?;
        let (loss, count) =
            model.loss(&scope, &ctx, &logits, self.max_target_length, self.config.zero_infinity)?;
        let rows = shape.utterances * shape.time();
        let logits = (!training).then(|| logits.reshape([rows, self.vocabulary.len()])).transpose()?;
        Ok(LossGraph { graph, loss, count, logits, embeddings: None })
    }
}

impl Task for Finetune {
    fn phase(&self) -> Phase {
        Phase::Finetune
    }

    fn measure(&self) -> Measure {
        Measure::WordErrorRate
    }

    fn kind(&self) -> ModelKind {
        ModelKind::Ctc(self.head())
    }

    fn inputs(&self, batch: &Batch, step: u64, micro: u32, training: bool) -> Result<(Inputs, usize)> {
        let words = [self.seed, step as u32, micro, stream("layer drop")];
        let mut inputs = common_inputs(batch, self.seed, step, micro);
        inputs.extend(layer_drop_inputs(self.model.layers, self.options.layer_drop, &words));
        // Without `zero_infinity`, a text that does not fit has an infinite loss in training.
        let counts = |row: &Row| match row {
            Row::Whole => true,
            Row::Impossible { .. } => training && !self.config.zero_infinity,
            Row::Empty | Row::Foreign | Row::Unknown => false,
        };
        let judged = self.rows(batch);
        let mut rows = vec![None; batch.utterances];
        for (row, _) in judged.iter().enumerate().filter(|(_, judged)| counts(judged)) {
            let Some(text) = &batch.texts[row] else { continue };
            rows[row] = Some(self.vocabulary.encode(text)?);
        }
        inputs.extend(ctc_inputs(&rows, self.max_target_length)?);
        Ok((inputs, 0))
    }

    fn rows(&self, batch: &Batch) -> Vec<Row> {
        let judge = |(text, &length): (&Option<String>, &u32)| {
            let frames = (length as usize).div_ceil(STRIDE);
            let Some(text) = text.as_ref().filter(|_| frames > 0) else { return Row::Empty };
            let Ok(ids) = self.vocabulary.encode(text) else { return Row::Foreign };
            let needs = least_frames(&ids);
            if needs > frames { Row::Impossible { needs, frames } } else { Row::Whole }
        };
        batch.texts.iter().zip(&batch.lengths).map(judge).collect()
    }

    fn update_metrics(&self, totals: &mut Totals, batch: &Batch, _: usize, results: &Results) -> Result<()> {
        let time = BatchShape::of(batch).time();
        let handed = results.handed.as_ref();
        let handed = handed.ok_or_else(|| Error::invalid("validation returned no logits"))?;
        let mut loss_rows = 0;
        for (row, judged) in self.rows(batch).into_iter().enumerate() {
            let scored = matches!(judged, Row::Whole | Row::Foreign);
            let Some(text) = batch.texts[row].as_ref().filter(|_| scored) else { continue };
            let frames = (batch.lengths[row] as usize).div_ceil(STRIDE);
            let (rows, prune) = (row * time..row * time + frames, self.decoder.token_prune());
            let emissions = match handed.emissions(rows, self.vocabulary.len(), prune) {
                // A model without numbers has no text either; its loss tells so.
                Err(_) if !results.loss.is_finite() => Emissions::new(),
                emissions => emissions?,
            };
            let best = self.decoder.decode(&emissions, 1);
            let best = best.first().map_or("", |one| one.text.as_str());
            totals.scores.push(score(&normalize(text), best));
            totals.rows += 1;
            loss_rows += usize::from(judged == Row::Whole);
        }
        totals.add_loss(results.loss, loss_rows);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::Handed;
    use crate::train::InputData;

    #[test]
    fn rows_that_cannot_be_learned_are_in_no_mean() {
        let task = Finetune {
            model: ModelConfig::default(),
            options: ModelOptions::default(),
            config: FinetuneConfig::default(),
            vocabulary: Vocabulary::english(),
            decoder: Arc::new(Decoder::greedy(&Vocabulary::english()).unwrap()),
            max_target_length: 8,
            seed: 0,
        };
        // Four encoder frames hold four different letters, but not one of them twice in a row.
        let texts = ["abcd", "abcc", "abé", "ab"].map(|text| Some(text.to_owned()));
        let batch = Batch {
            utterances: 5,
            frames: 16,
            features: vec![0.0; 5 * 16 * BANDS],
            lengths: vec![16, 16, 16, 13, 0],
            texts: texts.into_iter().chain([None]).collect(),
            ids: vec![vec![]; 5],
            audio_seconds: 1.0,
            index: Default::default(),
        };
        let impossible = Row::Impossible { needs: 5, frames: 4 };
        assert_eq!(task.rows(&batch), [Row::Whole, impossible, Row::Foreign, Row::Whole, Row::Empty]);
        let input = |task: &Finetune, training, wanted: &str| {
            let (inputs, _) = task.inputs(&batch, 1, 0, training).unwrap();
            inputs.into_iter().find(|(name, _)| name == wanted).unwrap().1
        };
        let weights = InputData::F32(vec![1.0 / 8.0, 0.0, 0.0, 1.0 / 4.0, 0.0]);
        assert_eq!(input(&task, true, "loss_weights"), weights);
        assert_eq!(input(&task, false, "target_lengths"), InputData::U32(vec![4, 0, 0, 2, 0]));
        let mut infinite = task;
        infinite.config.zero_infinity = false;
        assert_eq!(input(&infinite, false, "loss_weights"), weights);
        assert_eq!(input(&infinite, true, "target_lengths"), InputData::U32(vec![4, 4, 0, 2, 0]));

        let mut totals = Totals::default();
        let blank = Handed::Best { ids: vec![0; 5 * 4], probabilities: vec![1.0; 5 * 4] };
        let results = Results { loss: 3.0, handed: Some(blank), ..Results::default() };
        infinite.update_metrics(&mut totals, &batch, 0, &results).unwrap();
        assert_eq!((totals.rows, totals.loss_rows, totals.loss, totals.weight), (3, 2, 6.0, 2.0));
        assert!(totals.scores.iter().all(|score| score.words.errors() == 1));
    }
}
