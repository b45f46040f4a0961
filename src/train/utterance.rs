//! Classes of utterances: the losses of classification and verification, and their inputs.

use super::metrics::Phase;
use super::objective::{BatchShape, Inputs, LossGraph, Objective, Results, class_inputs};
use super::task::{Embedding, Measure, Row, Task, Totals, common_inputs, layer_drop_inputs};
use crate::audio::BANDS;
use crate::data::Batch;
use crate::error::{Error, Result};
use crate::exec::PlanOptions;
use crate::graph::Graph;
use crate::models::{Encoder, Handover, ModelKind, UtteranceHead, UtteranceModel};
use crate::nn::{Context, Mode};
use crate::recipe::{FinetuneConfig, ModelConfig, ModelOptions, TaskKind};
use crate::rng::stream;
use crate::shape::Spec;

/// Fine-tuning on the classes of utterances, which a batch has in the place of texts.
#[derive(Debug, Clone)]
pub struct Utterances {
    /// The encoder's architecture.
    pub model: ModelConfig,
    /// How the encoder is trained.
    pub options: ModelOptions,
    /// The loss.
    pub config: FinetuneConfig,
    /// The head, with the classes.
    pub head: UtteranceHead,
    /// Seed of dropout.
    pub seed: u32,
}

impl Utterances {
    /// The class of each row; `None` of one that is empty or of none.
    fn classes(&self, batch: &Batch) -> Vec<Option<usize>> {
        let class =
            |(text, &length): (&Option<String>, &u32)| self.head.class(text.as_ref().filter(|_| length > 0)?);
        batch.texts.iter().zip(&batch.lengths).map(class).collect()
    }
}

impl Objective for Utterances {
    fn plan_options(&self) -> PlanOptions {
        self.options.plan
    }

    fn handover(&self) -> Option<Handover> {
        Some(Handover::Best)
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
        let encoder = Encoder::new(&self.model, BANDS).frozen(self.config.freeze_encoder);
        let model = UtteranceModel::new(encoder, self.head.clone());
        let features = scope.input("features", Spec::f32([shape.utterances, shape.frames, BANDS]));
        let (judged, _) = model.forward(&scope, &ctx, &features)?;
        let FinetuneConfig { margin, margin_scale, .. } = self.config;
        let (loss, count) = model.loss(&scope, &ctx, &judged, margin as f32, margin_scale as f32)?;
        let (logits, embeddings) =
            if training { (None, None) } else { (Some(judged.scores), judged.embeddings) };
        Ok(LossGraph { graph, loss, count, logits, embeddings })
    }
}

impl Task for Utterances {
    fn phase(&self) -> Phase {
        Phase::Finetune
    }

    fn measure(&self) -> Measure {
        match self.config.task {
            TaskKind::Verify => Measure::EqualErrorRate,
            TaskKind::Ctc | TaskKind::Classify => Measure::Accuracy,
        }
    }

    fn kind(&self) -> ModelKind {
        ModelKind::Utterance(self.head.clone())
    }

    fn inputs(&self, batch: &Batch, step: u64, micro: u32, _: bool) -> Result<(Inputs, usize)> {
        let words = [self.seed, step as u32, micro, stream("layer drop")];
        let mut inputs = common_inputs(batch, self.seed, step, micro);
        inputs.extend(layer_drop_inputs(self.model.layers, self.options.layer_drop, &words));
        let classes = self.classes(batch);
        let classes: Vec<Option<u32>> = classes.into_iter().map(|class| Some(class? as u32)).collect();
        inputs.extend(class_inputs(&classes));
        let count = classes.iter().flatten().count();
        Ok((inputs, count))
    }

    fn rows(&self, batch: &Batch) -> Vec<Row> {
        let rows = self.classes(batch).into_iter().zip(batch.texts.iter().zip(&batch.lengths));
        rows.map(|(class, (text, &length))| match (class, text) {
            (Some(_), _) => Row::Whole,
            (None, Some(_)) if length > 0 => Row::Unknown,
            (None, _) => Row::Empty,
        })
        .collect()
    }

    fn update_metrics(&self, totals: &mut Totals, batch: &Batch, _: usize, results: &Results) -> Result<()> {
        let classes = self.classes(batch);
        let whole = classes.iter().flatten().count();
        let width = self.head.embedding.unwrap_or(0);
        let predicted_classes = results.best();
        let too_few = || Error::invalid("validation returned too few predictions");
        for (row, class) in classes.iter().enumerate() {
            let Some(text) = batch.texts[row].as_ref().filter(|_| batch.lengths[row] > 0) else { continue };
            let predicted = *predicted_classes.get(row).ok_or_else(too_few)?;
            totals.rows += 1;
            totals.right += usize::from(*class == Some(predicted as usize));
            if width > 0 {
                let values = results.embeddings.get(row * width..(row + 1) * width).ok_or_else(too_few)?;
                totals.embeddings.push(Embedding::new(text, values));
            }
        }
        totals.add_loss(results.loss, whole);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::Handed;
    use crate::train::InputData;

    #[test]
    fn rows_without_a_known_class_are_in_no_loss_and_are_errors() {
        let config = FinetuneConfig { task: TaskKind::Classify, ..FinetuneConfig::default() };
        let labels = ["no", "yes"].map(str::to_owned).to_vec();
        let task = Utterances {
            model: ModelConfig::default(),
            options: ModelOptions::default(),
            head: UtteranceHead::new(&config, labels),
            config,
            seed: 0,
        };
        let texts = ["yes", "perhaps", "no", "yes"].map(|text| Some(text.to_owned()));
        let batch = Batch {
            utterances: 5,
            frames: 16,
            features: vec![0.0; 5 * 16 * BANDS],
            lengths: vec![16, 16, 16, 0, 0],
            texts: texts.into_iter().chain([None]).collect(),
            ids: vec![vec![]; 5],
            audio_seconds: 1.0,
            index: Default::default(),
        };
        assert_eq!(task.rows(&batch), [Row::Whole, Row::Unknown, Row::Whole, Row::Empty, Row::Empty]);
        let (inputs, count) = task.inputs(&batch, 1, 0, true).unwrap();
        let input = |wanted: &str| inputs.iter().find(|(name, _)| name == wanted).unwrap().1.clone();
        assert_eq!(count, 2);
        assert_eq!(input("selected"), InputData::U32(vec![0, 2, u32::MAX, u32::MAX, u32::MAX]));
        assert_eq!(input("targets"), InputData::U32(vec![1, 0, 0, 0, 0]));
        let mut totals = Totals::default();
        let handed = Handed::Best { ids: vec![1; 5], probabilities: vec![1.0; 5] };
        let results = Results { loss: 3.0, handed: Some(handed), ..Results::default() };
        task.update_metrics(&mut totals, &batch, 2, &results).unwrap();
        assert_eq!((totals.rows, totals.loss_rows, totals.right), (3, 2, 1));
        assert_eq!((totals.loss, totals.weight), (6.0, 2.0));
    }
}
