//! Which examples share a batch, in which order, in how few shapes.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::rng::{Rng, stream};

/// Capacities are multiples of this many feature frames.
const FRAME_STEP: usize = 16;
const FRAMES_PER_SECOND: f64 = 100.0;

/// How many utterances a batch holds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BatchSize {
    /// This many.
    Utterances(usize),
    /// As many as this many seconds of the bucket's length allow, at least one.
    Seconds(f64),
}

/// Shapes of batches.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BucketConfig {
    /// Rows of a batch.
    pub batch: BatchSize,
    /// The most distinct shapes.
    pub buckets: usize,
}

impl BucketConfig {
    /// At most 8 shapes.
    pub fn new(batch: BatchSize) -> Self {
        Self { batch, buckets: 8 }
    }
}

/// Order of the examples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Shuffled anew in every epoch, without end: for training.
    Shuffled,
    /// By length, one epoch: for validation and evaluation.
    Sorted,
}

/// Position of a batch in training.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct BatchIndex {
    /// From 0.
    pub epoch: u32,
    /// Within the epoch, from 0; one past the last means the next epoch's first.
    pub batch: u32,
}

impl BatchIndex {
    /// Where to go on after this batch.
    pub fn following(self) -> Self {
        Self { batch: self.batch + 1, ..self }
    }
}

/// The examples of a batch and its shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedBatch {
    /// Rows B; the last ones stay empty where there are fewer examples.
    pub utterances: usize,
    /// Feature frames F of a row, a multiple of 16.
    pub frames: usize,
    /// Indices of at most B examples.
    pub examples: Vec<usize>,
}

/// The order of batches as a pure function of (seed, epoch).
///
/// Frame capacities are quantiles of the examples' lengths, so there are at most `buckets` shapes. What
/// does not fill a batch at an epoch's end moves on to the next longer bucket.
#[derive(Debug, Clone)]
pub struct Sampler {
    /// (B, F), F ascending.
    shapes: Vec<(usize, usize)>,
    /// Frames of every example.
    frames: Vec<usize>,
    order: Order,
    seed: u32,
}

impl Sampler {
    /// Plans batches of examples with the given numbers of feature frames.
    ///
    /// # Errors
    /// When there is no example or a batch of nothing is asked for.
    pub fn new(frames: Vec<usize>, config: &BucketConfig, order: Order, seed: u32) -> Result<Self> {
        if frames.is_empty() {
            return Err(Error::invalid("there is no example to make batches of; check the data"));
        }
        if config.buckets == 0 {
            return Err(Error::invalid("buckets = 0: give at least one"));
        }
        let rows = |frames: usize| match config.batch {
            BatchSize::Utterances(n) if n > 0 => Ok(n),
            BatchSize::Seconds(s) if s > 0.0 && s.is_finite() => {
                Ok(((s * FRAMES_PER_SECOND / frames as f64) as usize).max(1))
            }
            size => Err(Error::invalid(format!("batch size {size:?}: give a positive number"))),
        };
        let mut sorted = frames.clone();
        sorted.sort_unstable();
        let quantile = |i: usize| sorted[(i * sorted.len()).div_ceil(config.buckets) - 1];
        let mut capacities: Vec<usize> =
            (1..=config.buckets).map(|i| quantile(i).max(1).next_multiple_of(FRAME_STEP)).collect();
        capacities.dedup();
        let shapes =
            capacities.into_iter().map(|frames| Ok((rows(frames)?, frames))).collect::<Result<_>>()?;
        Ok(Self { shapes, frames, order, seed })
    }

    /// Every shape (B, F) that a batch can have, shortest first.
    pub fn shapes(&self) -> &[(usize, usize)] {
        &self.shapes
    }

    /// The batches of an epoch, in order.
    pub fn epoch(&self, epoch: u32) -> Vec<PlannedBatch> {
        let mut rng = Rng::new(&[self.seed, stream("order"), epoch]);
        let mut order: Vec<usize> = (0..self.frames.len()).collect();
        match self.order {
            Order::Shuffled => rng.shuffle(&mut order),
            Order::Sorted => order.sort_by_key(|&example| self.frames[example]),
        }
        let mut open = vec![Vec::new(); self.shapes.len()];
        for example in order {
            let bucket = self.shapes.partition_point(|&(_, frames)| frames < self.frames[example]);
            open[bucket].push(example);
        }
        let mut batches = Vec::new();
        let mut left_over = Vec::new();
        for (examples, &(utterances, frames)) in open.into_iter().zip(&self.shapes) {
            // Left-overs come last, so that as few as can be are padded to yet another length.
            let waiting = [examples, std::mem::take(&mut left_over)].concat();
            let whole = waiting.len() - waiting.len() % utterances;
            let batch = |examples: &[usize]| PlannedBatch { utterances, frames, examples: examples.to_vec() };
            batches.extend(waiting[..whole].chunks(utterances).map(batch));
            left_over = waiting[whole..].to_vec();
        }
        if let (false, Some(&(utterances, frames))) = (left_over.is_empty(), self.shapes.last()) {
            batches.push(PlannedBatch { utterances, frames, examples: left_over });
        }
        if self.order == Order::Shuffled {
            rng.shuffle(&mut batches);
        }
        batches
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

        #[test]
        fn every_example_comes_once_and_fits(
            frames in proptest::collection::vec(1usize..3000, 1..200),
            buckets in 1usize..9, size in 1usize..40, seconds: bool, sorted: bool, epoch in 0u32..5,
        ) {
            let batch = if seconds { BatchSize::Seconds(size as f64) } else { BatchSize::Utterances(size) };
            let order = if sorted { Order::Sorted } else { Order::Shuffled };
            let sampler = Sampler::new(frames.clone(), &BucketConfig { batch, buckets }, order, 1).expect("a sampler");
            prop_assert!(sampler.shapes().len() <= buckets);
            let batches = sampler.epoch(epoch);
            let mut seen: Vec<usize> = batches.iter().flat_map(|b| b.examples.clone()).collect();
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..frames.len()).collect::<Vec<_>>());
            for batch in &batches {
                prop_assert!(sampler.shapes().contains(&(batch.utterances, batch.frames)));
                prop_assert!(!batch.examples.is_empty() && batch.examples.len() <= batch.utterances);
                prop_assert!(batch.examples.iter().all(|&e| frames[e] <= batch.frames) && batch.frames % 16 == 0);
            }
            if !seconds {
                prop_assert_eq!(batches.len(), frames.len().div_ceil(size));
            }
            prop_assert_eq!(&batches, &sampler.epoch(epoch));
        }
    }

    #[test]
    fn epochs_and_seeds_differ_unless_sorted() {
        let frames: Vec<usize> = (0..100).map(|i| 50 + 7 * i).collect();
        let config = BucketConfig::new(BatchSize::Utterances(4));
        let sampler = |order, seed| Sampler::new(frames.clone(), &config, order, seed).expect("a sampler");
        assert_ne!(sampler(Order::Shuffled, 1).epoch(0), sampler(Order::Shuffled, 1).epoch(1));
        assert_ne!(sampler(Order::Shuffled, 1).epoch(0), sampler(Order::Shuffled, 2).epoch(0));
        let sorted = sampler(Order::Sorted, 1).epoch(0);
        assert_eq!(sorted, sampler(Order::Sorted, 2).epoch(3));
        assert_eq!(sorted[0].examples, [0, 1, 2, 3]);
    }

    #[test]
    fn nothing_and_empty_batches_are_errors() {
        let sampler =
            |frames, batch, buckets| Sampler::new(frames, &BucketConfig { batch, buckets }, Order::Sorted, 0);
        assert!(sampler(vec![], BatchSize::Utterances(1), 1).is_err());
        assert!(sampler(vec![5], BatchSize::Utterances(0), 1).is_err());
        assert!(sampler(vec![5], BatchSize::Seconds(f64::NAN), 1).is_err());
        assert!(sampler(vec![5], BatchSize::Utterances(1), 0).is_err());
        assert_eq!(
            sampler(vec![5, 600], BatchSize::Seconds(10.0), 2).expect("fine").shapes(),
            [(62, 16), (1, 608)]
        );
    }
}
