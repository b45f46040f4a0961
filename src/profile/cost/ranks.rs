//! The cost of a training step of one rank, or of several.

use serde::Serialize;

use super::{Card, Cost};
use crate::error::{Error, Result};
use crate::profile::{Point, Subject};

/// A training step of one rank on a card, as modelled.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct StepCost {
    /// Milliseconds of forward and backward of one micro-batch.
    pub micro_batch_ms: f64,
    /// Milliseconds of the update.
    pub update_ms: f64,
    /// Bytes of all gradients, what ranks add up.
    pub gradient_bytes: u64,
    /// Bytes of all buffers.
    pub peak_bytes: u64,
}

/// Ranks and what joins them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Link {
    /// Number of ranks, a card each.
    pub ranks: usize,
    /// 10⁹ bytes a second that a rank sends, and receives at once.
    pub gbps: f64,
}

/// A training step of several ranks, as modelled.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct RanksCost {
    /// Number of ranks.
    pub ranks: usize,
    /// 10⁹ bytes a second between them.
    pub link_gbps: f64,
    /// Milliseconds in which all gradients are added up in a ring, and nothing else is done.
    pub exchange_ms: f64,
    /// Milliseconds of a step: a micro-batch a rank, exchange, update.
    pub step_ms: f64,
    /// The share of `ranks` times one rank's speed that is left.
    pub efficiency: f64,
}

impl StepCost {
    /// A step of as many ranks, each with a micro-batch of its own. In a ring, a rank sends and receives each gradient
    /// twice, but for its own part.
    pub fn on(&self, link: Link) -> RanksCost {
        let Link { ranks, gbps } = link;
        let parts = 2.0 * (ranks as f64 - 1.0) / ranks as f64;
        let exchange_ms = parts * self.gradient_bytes as f64 / (1e6 * gbps);
        let alone = self.micro_batch_ms + self.update_ms;
        let step_ms = alone + exchange_ms;
        RanksCost { ranks, link_gbps: gbps, exchange_ms, step_ms, efficiency: alone / step_ms }
    }
}

impl Subject {
    /// The cost of a training step on `card`.
    ///
    /// # Errors
    /// When the mode trains nothing, or the model does not fit the card's limits.
    pub fn step_cost(&self, point: Point, card: &Card) -> Result<StepCost> {
        let planned = self.plan(point, &card.capabilities())?;
        planned.step_cost(&planned.cost(card)).ok_or_else(|| {
            Error::usage(format!("{} trains nothing; give train or finetune", point.mode.name()))
        })
    }
}

impl crate::profile::Planned {
    /// Its cost on `card`.
    pub fn cost(&self, card: &Card) -> Cost {
        Cost::of(&self.plan, self.update.as_ref(), card)
    }

    /// The step that takes `cost`; `None` where nothing is trained.
    pub(in crate::profile) fn step_cost(&self, cost: &Cost) -> Option<StepCost> {
        Some(StepCost {
            micro_batch_ms: cost.modelled_ms,
            update_ms: cost.update_ms?,
            gradient_bytes: 4 * self.parameters.trainable() as u64,
            peak_bytes: self.estimate.peak_bytes,
        })
    }
}
