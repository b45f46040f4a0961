//! The layers that learn, with the loss.

use super::Layers;
use super::heard::{Hidden, Shape};
use super::takes::Example;
use crate::audio::BANDS;
use crate::error::Result;
use crate::exec::{Compute, PlanOptions};
use crate::graph::Graph;
use crate::models::{CtcHead, CtcModel, Encoder, Handover, SavedConfig};
use crate::nn::{Context, Mode};
use crate::shape::Spec;
use crate::train::{BatchShape, Feed, Feeds, LossGraph, Objective, ctc_feeds, encoder_feeds};

/// CTC on what the layers that stay have heard.
pub(super) struct Tail {
    pub config: SavedConfig,
    pub head: CtcHead,
    pub layers: Layers,
    /// Room for the longest target.
    pub capacity: usize,
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
        let model = CtcModel::new(Encoder::new(&self.config.model, self.config.bands), self.head.clone());
        let width = self.config.model.d_model;
        let hidden = || scope.input("hidden", Spec::f32([rows, time, width]));
        let logits = match self.layers {
            Layers::Head => model.logits(&scope, &ctx, &hidden())?,
            Layers::Last(last) => {
                let first = self.config.model.layers - last;
                let (_, output) = model.encoder().forward_from(first, &scope, &ctx, &hidden())?;
                model.logits(&scope, &ctx, &output)?
            }
            Layers::All => {
                let features = scope.input("hidden", Spec::f32([rows, shape.frames, BANDS]));
                model.forward(&scope, &ctx, &features)?.0
            }
        };
        let (loss, count) = model.loss(&scope, &ctx, &logits, self.capacity, true)?;
        let logits = (!training).then(|| logits.reshape([rows * time, self.head.vocabulary])).transpose()?;
        Ok(LossGraph { graph, loss, count, logits, embeddings: None })
    }
}

impl Tail {
    /// What a batch of these takes is fed; rows that are not there are empty.
    ///
    /// # Errors
    /// When a text has more tokens than there is room for.
    pub fn feeds(&self, shape: Shape, rows: &[(&Example, &Hidden)], rng: [u32; 3]) -> Result<Feeds> {
        let Shape { rows: all, frames } = shape;
        let (mut lengths, mut targets) = (vec![0; all], vec![None; all]);
        let row = match rows.first() {
            Some((_, hidden)) => frames / hidden.stride * hidden.width,
            None => 0,
        };
        let mut values = vec![0.0; all * row];
        for (at, (example, hidden)) in rows.iter().enumerate() {
            values[at * row..at * row + hidden.values.len()].copy_from_slice(&hidden.values);
            lengths[at] = hidden.length as u32;
            targets[at] = Some(example.ids.clone());
        }
        let mut feeds = encoder_feeds(&lengths, frames, rng);
        feeds.push(("hidden".into(), Feed::F32(values)));
        feeds.extend(ctc_feeds(&targets, self.capacity)?);
        Ok(feeds)
    }
}
