//! Which examples share a batch, in which order, in how few shapes.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::rng::{Rng, stream};

/// Capacities are multiples of this many feature frames.
const FRAME_STEP: usize = 16;
const FRAMES_PER_SECOND: f64 = 100.0;

/// Lengths among which those of buckets are chosen, at most: the search takes their square.
const MOST_CANDIDATES: usize = 1000;

/// How many utterances a batch holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BatchSize {
    /// This many.
    Utterances(usize),
    /// As many as this many seconds of the bucket's length allow, at least one; where a bucket has few examples, less, so
    /// that they spread evenly over its batches.
    Seconds(f64),
    /// So many in each bucket, the shortest first.
    Each(Vec<usize>),
}

/// Shapes of batches.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BucketConfig {
    /// Rows of a batch.
    pub batch: BatchSize,
    /// The most distinct shapes; [`BatchSize::Each`] tells their number itself.
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
/// Frame capacities are at most `buckets` lengths, chosen so that as few frames as can be are padding. Of batches of a
/// number of utterances, what does not fill one at an epoch's end moves on to the next longer bucket. Batches that are
/// not grouped by length have the first shape that holds their longest example; then capacities are chosen for the
/// longest examples of the batches of an epoch.
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
    /// Whether what does not fill a batch moves on to the next longer bucket.
    moves_on: bool,
}

impl Sampler {
    /// Plans batches of examples with the given numbers of feature frames.
    ///
    /// # Errors
    /// When there is no example, a batch of nothing is asked for, or [`BatchSize::Each`] has another number of buckets
    /// than the examples make.
    pub fn new(frames: Vec<usize>, config: &BucketConfig, order: Order, seed: u32) -> Result<Self> {
        Self::bounded(frames, 0, config, order, seed)
    }

    /// As [`Sampler::new`], with a shape that holds `longest` frames, which an example of a later epoch may have.
    ///
    /// # Errors
    /// As for [`Sampler::new`].
    pub fn bounded(
        frames: Vec<usize>,
        longest: usize,
        config: &BucketConfig,
        order: Order,
        seed: u32,
    ) -> Result<Self> {
        if frames.is_empty() {
            return Err(Error::invalid("there is no example to make batches of; check the data"));
        }
        if config.buckets == 0 {
            return Err(Error::invalid("buckets = 0: give at least one"));
        }
        match &config.batch {
            BatchSize::Utterances(n) if *n > 0 => {}
            BatchSize::Seconds(s) if *s > 0.0 && s.is_finite() => {}
            BatchSize::Each(rows) if !rows.is_empty() && !rows.contains(&0) => {}
            size => return Err(Error::invalid(format!("batch size {size:?}: give a positive number"))),
        }
        let mixed = match (config.group_by_length || order == Order::Sorted, &config.batch) {
            (true, _) => None,
            (false, BatchSize::Utterances(rows)) => Some(*rows),
            (false, _) => {
                let message = "batches of so many seconds are grouped by length; give a number of utterances";
                return Err(Error::invalid(message));
            }
        };
        let moves_on = matches!(config.batch, BatchSize::Utterances(_));
        let mut sampler = Self { shapes: Vec::new(), frames, order, seed, mixed, moves_on };
        let mut lengths = match mixed {
            None => sampler.frames.clone(),
            Some(rows) => sampler.mixed(0, rows).iter().map(|batch| sampler.longest(batch)).collect(),
        };
        // Batches of later epochs may be longer.
        let most = sampler.frames.iter().copied().max().unwrap_or(0);
        lengths.extend((mixed.is_some() || longest > most).then_some(longest.max(most)));
        lengths.sort_unstable();
        let plain = |examples: usize, frames: usize| examples * frames;
        sampler.shapes = match &config.batch {
            BatchSize::Utterances(rows) => capacities(&lengths, config.buckets, plain)
                .into_iter()
                .map(|(frames, _)| (*rows, frames))
                .collect(),
            BatchSize::Seconds(seconds) => {
                let rows = |examples: usize, frames: usize| {
                    let most = ((seconds * FRAMES_PER_SECOND / frames as f64) as usize).max(1);
                    spread(examples, most)
                };
                let cost = |examples: usize, frames: usize| {
                    let rows = rows(examples, frames);
                    examples.div_ceil(rows) * rows * frames
                };
                capacities(&lengths, config.buckets, cost)
                    .into_iter()
                    .map(|(frames, examples)| (rows(examples, frames), frames))
                    .collect()
            }
            BatchSize::Each(rows) => {
                let made = capacities(&lengths, rows.len(), plain);
                if made.len() != rows.len() {
                    return Err(Error::invalid(format!(
                        "batch_utterances lists {} numbers, and the clips have no more than {} lengths: give as many, or \
                         one number for all",
                        rows.len(),
                        made.len()
                    )));
                }
                rows.iter().zip(made).map(|(&rows, (frames, _))| (rows, frames)).collect()
            }
        };
        Ok(sampler)
    }

    /// The same shapes for other examples, none of them longer than the longest shape.
    pub fn with(&self, frames: Vec<usize>) -> Self {
        Self { frames, ..self.clone() }
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
        self.shapes.partition_point(|&(_, padded)| padded < frames)
    }

    /// Every shape (B, F) that a batch can have, shortest first.
    pub fn shapes(&self) -> &[(usize, usize)] {
        &self.shapes
    }

    /// The examples of each shape in an epoch, where they are grouped by length and none moves on.
    pub fn examples(&self) -> Vec<usize> {
        let mut counts = vec![0; self.shapes.len()];
        self.frames.iter().for_each(|&frames| counts[self.bucket(frames)] += 1);
        counts
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
            let whole = match self.moves_on {
                true => waiting.len() - waiting.len() % utterances,
                false => waiting.len(),
            };
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

/// The rows of `examples` examples in as few batches of at most `most` as can be, all of one size.
pub(crate) fn spread(examples: usize, most: usize) -> usize {
    examples.div_ceil(examples.div_ceil(most.max(1)).max(1)).max(1)
}

/// At most `most` capacities, multiples of 16, that hold `lengths`, which ascend, and the lengths that each holds: those
/// for which the sum of `cost(lengths in the bucket, padded length)` is least, and of equals the fewest.
fn capacities(lengths: &[usize], most: usize, cost: impl Fn(usize, usize) -> usize) -> Vec<(usize, usize)> {
    // Candidates, and the lengths up to each.
    let mut ends: Vec<(usize, usize)> = Vec::new();
    let padded = |at: usize| lengths[at].max(1).next_multiple_of(FRAME_STEP);
    let thinned = |i: usize| ((i + 1) * lengths.len()).div_ceil(MOST_CANDIDATES.min(lengths.len())) - 1;
    for at in (0..MOST_CANDIDATES.min(lengths.len())).map(thinned) {
        let padded = padded(at);
        let count = lengths.partition_point(|&length| length <= padded);
        if ends.last().is_none_or(|&(last, _)| last < padded) {
            ends.push((padded, count));
        }
    }
    let before = |end: usize| if end == 0 { 0 } else { ends[end - 1].1 };
    let of = |first: usize, last: usize| cost(ends[last].1 - before(first), ends[last].0);
    // The least cost of all lengths up to each candidate, with one bucket more a round, and where the last one begins.
    let mut least: Vec<usize> = (0..ends.len()).map(|last| of(0, last)).collect();
    let mut begins = vec![vec![0; ends.len()]];
    let (mut fewest, mut best) = (0, least.last().copied().unwrap_or(0));
    for round in 1..most.min(ends.len()) {
        let mut next = vec![usize::MAX; ends.len()];
        let mut begin = vec![0; ends.len()];
        for last in round..ends.len() {
            for first in round..=last {
                let sum = least[first - 1].saturating_add(of(first, last));
                if sum < next[last] {
                    (next[last], begin[last]) = (sum, first);
                }
            }
        }
        begins.push(begin);
        least = next;
        if let Some(&all) = least.last().filter(|&&all| all < best) {
            (fewest, best) = (round, all);
        }
    }
    let mut chosen = Vec::new();
    let mut end = ends.len();
    for round in (0..=fewest).rev().take_while(|_| !ends.is_empty()) {
        let first = begins[round][end - 1];
        chosen.push((ends[end - 1].0, ends[end - 1].1 - before(first)));
        end = first;
    }
    chosen.reverse();
    chosen
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
            [(1, 16), (1, 608)]
        );
        let each = |rows: &[usize]| sampler(vec![5, 600], BatchSize::Each(rows.to_vec()), 1);
        assert_eq!(each(&[3, 2]).expect("fine").shapes(), [(3, 16), (2, 608)]);
        assert!(each(&[3, 0]).is_err() && each(&[]).is_err());
        let error = each(&[3, 2, 1]).unwrap_err().to_string();
        assert!(error.contains("lists 3 numbers") && error.contains("than 2 lengths"), "{error}");
    }

    #[test]
    fn capacities_are_those_that_pad_least() {
        let plain = |examples: usize, frames: usize| examples * frames;
        // Ten of a length and one each of two that are near to each other.
        let lengths = [[100; 10].as_slice(), &[400, 410]].concat();
        assert_eq!(capacities(&lengths, 1, plain), [(416, 12)]);
        assert_eq!(capacities(&lengths, 2, plain), [(112, 10), (416, 2)]);
        assert_eq!(capacities(&lengths, 9, plain), [(112, 10), (400, 1), (416, 1)]);
        assert_eq!(capacities(&[400, 410], 9, |_, _| 1), [(416, 2)]);
        assert_eq!(capacities(&[0], 4, plain), [(16, 1)]);
        // Against all choices.
        let mut rng = crate::rng::Rng::new(&[1]);
        for _ in 0..20 {
            let mut lengths: Vec<usize> = (0..40).map(|_| (rng.unit() * 200.0) as usize).collect();
            lengths.sort_unstable();
            let mut ends: Vec<usize> =
                lengths.iter().map(|&length| length.max(1).next_multiple_of(FRAME_STEP)).collect();
            ends.dedup();
            let sum = |chosen: &[usize]| -> usize {
                let holds = |&length: &usize| chosen.iter().find(|&&end| end >= length).copied();
                lengths.iter().map(|length| holds(length).unwrap_or(1 << 30)).sum()
            };
            let mut least = usize::MAX;
            for (i, &first) in ends.iter().enumerate() {
                for &second in &ends[i..] {
                    least = least.min(sum(&[first, second, ends[ends.len() - 1]]));
                }
            }
            let chosen: Vec<usize> = capacities(&lengths, 3, plain).iter().map(|&(end, _)| end).collect();
            assert_eq!(sum(&chosen), least, "{lengths:?}: {chosen:?}");
        }
        // More lengths than are tried: the longest has a bucket.
        let many: Vec<usize> = (0..5000).map(|i| 100 * i).collect();
        let chosen = capacities(&many, 4, plain);
        assert_eq!(chosen.last().map(|&(end, _)| end), Some(499_904));
        assert_eq!(chosen.iter().map(|&(_, count)| count).sum::<usize>(), 5000);
    }

    #[test]
    fn few_examples_spread_over_their_batches() {
        assert_eq!(
            [(10, 7), (8, 8), (9, 8), (3, 100), (0, 5), (5, 0)].map(|(n, most)| spread(n, most)),
            [5, 8, 5, 3, 1, 1]
        );
        let config = BucketConfig { buckets: 1, ..BucketConfig::new(BatchSize::Seconds(70.0)) };
        // Of 10 s each: seven fit, and two batches of five pad nothing.
        let sampler = Sampler::new(vec![992; 10], &config, Order::Shuffled, 1).expect("a sampler");
        assert_eq!(sampler.shapes(), [(5, 992)]);
        assert_eq!(sampler.epoch(0).iter().map(|batch| batch.examples.len()).collect::<Vec<_>>(), [5, 5]);
        assert_eq!(sampler.examples(), [10]);
    }
}
