//! The results of training runs, to compare.
#![allow(dead_code, reason = "not every test reads both")]

use std::path::Path;

use polymix::models::SavedModel;
use polymix::train::metrics::{self, Line};
use polymix::weights::Weights;

/// The last parameters.
pub fn weights(run: &Path) -> Weights {
    SavedModel::load(&run.join("last")).unwrap().weights
}

/// Steps and losses as bits, of training and of validation.
pub fn losses(run: &Path) -> Vec<(u64, u64)> {
    let loss = |line: &Line| match line {
        Line::Train(line) => (line.step, line.loss.to_bits()),
        Line::Valid(line) => (line.step, line.valid_loss.to_bits()),
    };
    metrics::read(run.join("metrics.jsonl")).unwrap().iter().map(loss).collect()
}
