//! The trainable layers, with the loss: CTC, or the cross-entropy of classes.

use super::Layers;
use super::hidden::{Hidden, Shape};
use super::takes::Example;
use crate::audio::BANDS;
use crate::error::Result;
use crate::exec::{Compute, PlanOptions};
use crate::graph::{Graph, Scope, Tensor};
use crate::models::{CtcHead, CtcModel, Encoder, Handover, SavedConfig, UtteranceHead, UtteranceModel};
use crate::nn::{Context, Mode};
use crate::shape::Spec;
use crate::train::{
    BatchShape, InputData, Inputs, LossGraph, Objective, class_inputs, ctc_inputs, encoder_inputs,
};

/// The loss of the layers that learn, on the hidden states of the others.
pub(super) struct Tail {
    pub config: SavedConfig,
    pub head: Head,
    pub layers: Layers,
    /// Number of outputs of the encoder that are the input of the trainable layers.
    pub parts: usize,
}

/// The head.
pub(super) enum Head {
    /// Texts, the longest of which has room in `max_target_length` tokens.
    Ctc { head: CtcHead, max_target_length: usize },
    /// Classes.
    Classes(UtteranceHead),
}

impl Objective for Tail {
    fn plan_options(&self) -> PlanOptions {
        PlanOptions { compute: Compute::F32, ..self.config.options.plan }
    }

    fn handover(&self) -> Option<Handover> {
        Some(Handover::Best)
    }

    fn graph(&self, shape: BatchShape, training: bool) -> Result<LossGraph> {
        let graph = Graph::new();
        let scope = graph.root();
        let mode = match training {
            true => Mode::Training { dropout: self.config.options.dropout, layer_drop: 0.0 },
            false => Mode::Inference,
        };
        let (rows, time) = (shape.utterances, shape.time());
        let ctx = Context::new(&scope, rows, time, mode, self.config.model.padding);
        let encoder = Encoder::new(&self.config.model, self.config.bands);
        let outputs = self.outputs(&scope, &ctx, &encoder, shape)?;
        match &self.head {
            Head::Ctc { head, max_target_length } => {
                let model = CtcModel::new(encoder, head.clone());
                // The last is what the final LayerNorm gives.
                let logits = model.logits(&scope, &ctx, &outputs[outputs.len() - 1])?;
                let (loss, count) = model.loss(&scope, &ctx, &logits, *max_target_length, true)?;
                let logits =
                    (!training).then(|| logits.reshape([rows * time, head.vocabulary])).transpose()?;
                Ok(LossGraph { graph, loss, count, logits, embeddings: None })
            }
            Head::Classes(head) => {
                let model = UtteranceModel::new(encoder, head.clone());
                let judged = model.judge(&scope, &ctx, &outputs)?;
                // Margin and scale are of cosines, which are none here.
                let (loss, count) = model.loss(&scope, &ctx, &judged, 0.0, 1.0)?;
                let logits = (!training).then_some(judged.scores);
                Ok(LossGraph { graph, loss, count, logits, embeddings: None })
            }
        }
    }
}

impl Tail {
    /// Outputs of the layers, the last one's after the final LayerNorm: those that the takes are given as, and of those that
    /// learn.
    fn outputs(
        &self,
        scope: &Scope,
        ctx: &Context,
        encoder: &Encoder,
        shape: BatchShape,
    ) -> Result<Vec<Tensor>> {
        if self.layers == Layers::All {
            let features = scope.input("hidden", Spec::f32([ctx.batch, shape.frames, BANDS]));
            return Ok(encoder.forward(scope, ctx, &features)?.outputs());
        }
        let width = self.config.model.d_model;
        let hidden = scope.input("hidden", Spec::f32([ctx.batch, ctx.time, self.parts * width]));
        let mut given = match self.parts {
            1 => vec![hidden],
            parts => (0..parts).map(|part| hidden.slice(2, part * width, width)).collect::<Result<_>>()?,
        };
        if let Layers::Last(last) = self.layers {
            let first = self.config.model.layers - last;
            let (layers, output) = encoder.forward_from(first, scope, ctx, &given[given.len() - 1])?;
            if first == 0 {
                given.clear();
            }
            given.extend(layers.into_iter().take(last - 1).chain([output]));
        }
        Ok(given)
    }

    /// The inputs of a batch of these takes; rows that are not there are empty.
    ///
    /// # Errors
    /// When a text has more tokens than there is room for.
    pub fn inputs(&self, shape: Shape, rows: &[(&Example, &Hidden)], rng: [u32; 3]) -> Result<Inputs> {
        let Shape { rows: all, frames } = shape;
        let mut lengths = vec![0; all];
        let row = match rows.first() {
            Some((_, hidden)) => frames / hidden.stride * hidden.width,
            None => 0,
        };
        let mut values = vec![0.0; all * row];
        for (at, (_, hidden)) in rows.iter().enumerate() {
            values[at * row..at * row + hidden.values.len()].copy_from_slice(&hidden.values);
            lengths[at] = hidden.length as u32;
        }
        let mut inputs = encoder_inputs(&lengths, frames, rng);
        inputs.push(("hidden".into(), InputData::F32(values)));
        match &self.head {
            Head::Ctc { max_target_length, .. } => {
                let mut targets: Vec<_> = rows.iter().map(|(example, _)| Some(example.ids.clone())).collect();
                targets.resize(all, None);
                inputs.extend(ctc_inputs(&targets, *max_target_length)?);
            }
            Head::Classes(_) => {
                let mut classes: Vec<_> =
                    rows.iter().map(|(example, _)| example.ids.first().copied()).collect();
                classes.resize(all, None);
                inputs.extend(class_inputs(&classes));
            }
        }
        Ok(inputs)
    }
}
