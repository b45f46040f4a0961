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
    /// Whether examples of similar length share batches in training, which pads least, or any do, which mixes
    /// best.
    pub group_by_length: bool,
}

impl BucketConfig {
    /// At most 8 shapes.
    pub fn new(batch: BatchSize) -> Self {
        Self { batch, buckets: 8, group_by_length: true }
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
/// does not fill a batch at an epoch's end moves on to the next longer bucket. Batches that are not grouped by
/// length have the first shape that holds their longest example; then capacities are quantiles of that length
/// over the batches of an epoch, and the longest example's.
#[derive(Debug, Clone)]
pub struct Sampler {
    /// (B, F), F ascending.
    shapes: Vec<(usize, usize)>,
    /// Frames of every example.
    frames: Vec<usize>,
    order: Order,
    seed: u32,
    /// Rows of a batch of any examples; `None` where they are grouped by length.
    mixed: Option<usize>,
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
        let mixed = match (config.group_by_length || order == Order::Sorted, config.batch) {
            (true, _) => None,
            (false, BatchSize::Utterances(rows)) => Some(rows.max(1)),
            (false, BatchSize::Seconds(_)) => {
                let message = "batches of so many seconds are grouped by length; give a number of utterances";
                return Err(Error::invalid(message));
            }
        };
        let mut sampler = Self { shapes: Vec::new(), frames, order, seed, mixed };
        let mut sorted = match mixed {
            None => sampler.frames.clone(),
            Some(rows) => sampler.mixed(0, rows).iter().map(|batch| sampler.longest(batch)).collect(),
        };
        sorted.sort_unstable();
        let quantile = |i: usize| sorted[(i * sorted.len()).div_ceil(config.buckets) - 1];
        let mut capacities: Vec<usize> =
            (1..=config.buckets).map(|i| quantile(i).max(1).next_multiple_of(FRAME_STEP)).collect();
        let longest = sampler.frames.iter().copied().max().unwrap_or(1).max(1).next_multiple_of(FRAME_STEP);
        if let Some(last) = capacities.last_mut() {
            *last = longest;
        }
        capacities.dedup();
        sampler.shapes =
            capacities.into_iter().map(|frames| Ok((rows(frames)?, frames))).collect::<Result<_>>()?;
        Ok(sampler)
    }

    /// The epoch's examples in random order, `rows` at a time.
    fn mixed(&self, epoch: u32, rows: usize) -> Vec<Vec<usize>> {
        let mut order: Vec<usize> = (0..self.frames.len()).collect();
        Rng::new(&[self.seed, stream("order"), epoch]).shuffle(&mut order);
        order.chunks(rows).map(<[usize]>::to_vec).collect()
    }

    fn longest(&self, batch: &[usize]) -> usize {
        batch.iter().map(|&example| self.frames[example]).max().unwrap_or(0)
    }

    /// The first shape that holds `frames` frames.
    fn bucket(&self, frames: usize) -> usize {
        self.shapes.partition_point(|&(_, capacity)| capacity < frames)
    }

    /// Every shape (B, F) that a batch can have, shortest first.
    pub fn shapes(&self) -> &[(usize, usize)] {
        &self.shapes
    }

    /// The batches of an epoch, in order.
    pub fn epoch(&self, epoch: u32) -> Vec<PlannedBatch> {
        if let Some(rows) = self.mixed {
            let batches = self.mixed(epoch, rows).into_iter().map(|examples| {
                let (utterances, frames) = self.shapes[self.bucket(self.longest(&examples))];
                PlannedBatch { utterances, frames, examples }
            });
            return batches.collect();
        }
        let mut rng = Rng::new(&[self.seed, stream("order"), epoch]);
        let mut order: Vec<usize> = (0..self.frames.len()).collect();
        match self.order {
            Order::Shuffled => rng.shuffle(&mut order),
            Order::Sorted => order.sort_by_key(|&example| self.frames[example]),
        }
        let mut open = vec![Vec::new(); self.shapes.len()];
        for example in order {
            open[self.bucket(self.frames[example])].push(example);
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
            buckets in 1usize..9, size in 1usize..40, seconds: bool, sorted: bool, mixed: bool, epoch in 0u32..5,
        ) {
            let batch = if seconds { BatchSize::Seconds(size as f64) } else { BatchSize::Utterances(size) };
            let order = if sorted { Order::Sorted } else { Order::Shuffled };
            let config = BucketConfig { batch, buckets, group_by_length: seconds || !mixed };
            let sampler = Sampler::new(frames.clone(), &config, order, 1).expect("a sampler");
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
    fn mixed_batches_hold_any_lengths() {
        let frames: Vec<usize> = (0..400).map(|i| 50 + i).collect();
        let config = BucketConfig { batch: BatchSize::Utterances(8), buckets: 4, group_by_length: false };
        let sampler = Sampler::new(frames.clone(), &config, Order::Shuffled, 1).expect("a sampler");
        let spread = |batch: &PlannedBatch| {
            let frames = batch.examples.iter().map(|&example| frames[example]);
            frames.clone().max().unwrap_or(0) - frames.min().unwrap_or(0)
        };
        for epoch in 0..4 {
            let batches = sampler.epoch(epoch);
            assert_eq!(batches.len(), 50);
            assert!(batches.iter().map(spread).sum::<usize>() > 50 * 200);
        }
        let seconds = BucketConfig { batch: BatchSize::Seconds(9.0), ..config };
        assert!(Sampler::new(frames, &seconds, Order::Shuffled, 1).is_err());
    }

    #[test]
    fn nothing_and_empty_batches_are_errors() {
        let sampler = |frames, batch, buckets| {
            Sampler::new(frames, &BucketConfig { batch, buckets, group_by_length: true }, Order::Sorted, 0)
        };
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
