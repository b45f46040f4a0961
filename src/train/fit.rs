//! Batches that fit: the largest of every length that a device holds, known from plans alone.

use std::collections::BTreeMap;

use super::collective::Ranks;
use super::objective::BatchShape;
use super::parameters::{Kind, ParameterSet};
use super::run::Source;
use super::stop;
use super::task::Task;
use super::trainer::{Trainer, training_plan, update_plan, validation_plan};
use crate::data::{BatchSize, spread};
use crate::error::{Error, Remedy, Result};
use crate::exec::Plan;
use crate::gpu::{Capabilities, Gpu};
use crate::recipe::OptimizerConfig;

/// Part of the free memory that batches may fill; drivers and other programs need some.
const SHARE: f64 = 0.9;

/// Feature frames of a second.
const FRAMES: f64 = 100.0;

/// Plans that are made to find one number before the search halves what is left.
const GUESSES: usize = 6;

/// The memory that a rank may fill.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Room {
    pub bytes: u64,
    /// How that is known.
    pub why: String,
}

impl Room {
    /// What the user says, else a part of what is free, divided among the ranks that share it.
    ///
    /// # Errors
    /// When the amount of free memory is unknown; when a rank is silent.
    pub fn of(gpu: &Gpu, ranks: &Ranks, limit: Option<u64>) -> Result<Self> {
        let place = gpu.place();
        // All devices are open by then, none holds a model, and none takes memory before all have looked.
        let sharing = ranks.all(place.clone())?.into_iter().filter(|other| *other == place).count().max(1);
        let free = gpu.free_memory();
        ranks.all(())?;
        match (limit, free) {
            (Some(bytes), _) => Ok(Self { bytes, why: "as the request says".to_owned() }),
            (None, Some(free)) => {
                let bytes = (SHARE * free as f64 / sharing as f64) as u64;
                let among = if sharing > 1 { format!(", shared by {sharing} ranks") } else { String::new() };
                Ok(Self {
                    bytes,
                    why: format!("nine tenths of what {} has free{among}", gpu.capabilities().adapter),
                })
            }
            (None, None) => {
                let label = gpu.capabilities().label();
                Err(Error::usage(format!("{label} does not tell how much memory it has"))
                    .advise(Remedy::MemoryLimit))
            }
        }
    }
}

/// What is known of a length of batches.
#[derive(Debug, Clone, PartialEq)]
struct Bucket {
    /// Feature frames.
    frames: usize,
    /// Clips of this length.
    examples: usize,
    /// Clips that fit in a batch, of those that there are.
    fit: usize,
    /// Clips in a batch.
    utterances: usize,
}

/// Finds how many clips of each length fit in a batch, puts that in the place of `train`'s and `valid`'s batch size, and
/// tells it as a table.
///
/// # Errors
/// When one clip of a length is too much, or a rank is silent.
#[allow(clippy::too_many_arguments, reason = "all that memory depends on")]
pub(super) fn fit(
    ranks: &Ranks,
    gpu: &Gpu,
    limit: Option<u64>,
    task: &dyn Task,
    optimizer: &OptimizerConfig,
    train: &mut Source,
    valid: &mut Option<Source>,
    news: &mut dyn FnMut(&str),
) -> Result<Vec<usize>> {
    let room = Room::of(gpu, ranks, limit)?;
    let capabilities = gpu.capabilities();
    let most = ranks.all(capabilities.max_binding)?.into_iter().min().unwrap_or(u64::MAX);
    let memory = RunMemory {
        task,
        capabilities,
        fixed: {
            let parameters = ParameterSet::of(task, optimizer, most)?;
            parameters.bytes(Kind::ALL.len()) + Trainer::totals_bytes(parameters.compute)
        },
        update: update_plan(&ParameterSet::of(task, optimizer, most)?, optimizer, capabilities)?,
        adds: ranks.share(optimizer.accumulation).len() > 1,
        copies: train.config.copies(),
    };
    let sampler = train.config.sampler(&train.examples)?;
    let lengths: Vec<(usize, usize)> =
        sampler.shapes().iter().map(|&(_, frames)| frames).zip(sampler.examples()).collect();
    // What the pool of all plans holds is more than any of them does, which is known at the end.
    let mut bytes = room.bytes;
    loop {
        let fits = memory.fits(&lengths, bytes, room.bytes)?;
        // The smallest device decides.
        let fits = (0..fits.len()).map(|i| ranks.all(fits[i])).collect::<Result<Vec<_>>>()?;
        let fits = fits.into_iter().map(|all| all.into_iter().min().unwrap_or(1));
        let buckets: Vec<Bucket> = fits
            .zip(&lengths)
            .map(|(fit, &(frames, examples))| Bucket {
                frames,
                examples,
                fit,
                utterances: spread(examples, fit),
            })
            .collect();
        let utterances: Vec<usize> = buckets.iter().map(|bucket| bucket.utterances).collect();
        train.config.buckets.batch = BatchSize::Each(utterances.clone());
        if let Some(valid) = valid {
            valid.config.buckets.batch = train.like()?;
        }
        let (all, each) = memory.all(&buckets, valid.as_ref())?;
        let over = all.saturating_sub(room.bytes);
        let smallest = buckets.iter().all(|bucket| bucket.utterances == 1);
        if ranks.all(over > 0 && !smallest)?.contains(&true) {
            bytes -= (over + over / 8).max(room.bytes / 200).min(bytes / 2);
            continue;
        }
        tell(&buckets, &each, all, &room, ranks.size(), news);
        return Ok(utterances);
    }
}

/// The memory of batches on the device.
struct RunMemory<'a> {
    task: &'a dyn Task,
    capabilities: &'a Capabilities,
    /// Parameters, gradients, moments and totals.
    fixed: u64,
    update: Plan,
    /// Whether a step has several micro-batches, whose gradients are added.
    adds: bool,
    /// Rows of each clip.
    copies: usize,
}

impl RunMemory<'_> {
    fn plan(&self, utterances: usize, frames: usize, accumulate: bool) -> Result<Plan> {
        stop::check()?;
        let shape = BatchShape { utterances: self.copies * utterances, frames };
        training_plan(self.task, shape, accumulate, self.capabilities)
    }

    /// Bytes of all that `plans` hold together.
    fn sum<'p>(&self, plans: impl Iterator<Item = &'p Plan> + Clone) -> u64 {
        let constants: BTreeMap<&str, u64> = plans
            .clone()
            .flat_map(|plan| {
                plan.constants.iter().map(|(name, _, _)| name.as_str()).zip(plan.constant_bytes())
            })
            .collect();
        self.fixed
            + constants.values().sum::<u64>()
            + plans.clone().map(Plan::uniform_bytes).sum::<u64>()
            + Plan::pool_bytes(plans).iter().sum::<u64>()
    }

    /// Bytes that a batch holds, alone; `None` where the device cannot hold it whatever its memory.
    fn alone(&self, utterances: usize, frames: usize) -> Result<Option<u64>> {
        let plan = match self.plan(utterances, frames, self.adds) {
            Ok(plan) => plan,
            Err(Error::Interrupted) => return Err(Error::Interrupted),
            Err(error) if utterances == 1 => return Err(error),
            Err(_) => return Ok(None),
        };
        if plan.slots.iter().any(|&slot| slot > self.capabilities.max_buffer) {
            return Ok(None);
        }
        Ok(Some(self.sum([&plan, &self.update].into_iter())))
    }

    /// Clips of each length of which a batch fits in `bytes`, at most as many as there are.
    fn fits(&self, lengths: &[(usize, usize)], bytes: u64, room: u64) -> Result<Vec<usize>> {
        let mut fits = vec![0; lengths.len()];
        // The longest first: what is too long is known at once.
        for (at, &(frames, examples)) in lengths.iter().enumerate().rev() {
            let one = self.alone(1, frames)?.unwrap_or(u64::MAX);
            if one > room {
                return Err(Error::OutOfMemory(format!(
                    "a batch of one clip of {:.1} s holds {}, and there are {}; lower max_seconds, set \
                     model.checkpoint = \"layer\", or take a smaller model",
                    frames as f64 / FRAMES,
                    size(one),
                    size(room)
                )));
            }
            let measure = |utterances| Ok(self.alone(utterances, frames)?.unwrap_or(u64::MAX));
            fits[at] = largest(examples.max(1), bytes, (one, self.fixed), measure)?;
        }
        Ok(fits)
    }

    /// Bytes that all plans of a run hold together, and those that each length holds alone.
    fn all(&self, buckets: &[Bucket], valid: Option<&Source>) -> Result<(u64, Vec<u64>)> {
        let (mut plans, mut each) = (Vec::new(), Vec::new());
        for bucket in buckets {
            let first = plans.len();
            for accumulate in [false, true].into_iter().take(1 + usize::from(self.adds)) {
                plans.push(self.plan(bucket.utterances, bucket.frames, accumulate)?);
            }
            each.push(self.sum(plans[first..].iter().chain([&self.update])));
        }
        for shape in valid.map_or_else(|| Ok(Vec::new()), Source::shapes)? {
            stop::check()?;
            plans.push(validation_plan(self.task, shape, self.capabilities)?);
        }
        Ok((self.sum(plans.iter().chain([&self.update])), each))
    }
}

/// The largest number up to `most` of which `measure` gives at most `bytes`, where it ascends; `one` is what it gives of
/// 1, and of nothing. 1 where even that is too much.
fn largest(
    most: usize,
    bytes: u64,
    (one, nothing): (u64, u64),
    mut measure: impl FnMut(usize) -> Result<u64>,
) -> Result<usize> {
    let (mut fits, mut too_many) = ((1, one), most + 1);
    let mut bytes_each = one.saturating_sub(nothing).max(1);
    for guess in 0.. {
        if fits.0 + 1 >= too_many {
            break;
        }
        let (low, high) = (fits.0 + 1, too_many - 1);
        let next = match guess < GUESSES {
            // Assumes that every further one takes as much as the last ones.
            true => {
                fits.0.saturating_add((bytes.saturating_sub(fits.1) / bytes_each) as usize).clamp(low, high)
            }
            false => low.midpoint(high),
        };
        let needed = measure(next)?;
        if needed <= bytes {
            bytes_each = (needed.saturating_sub(fits.1) / (next - fits.0) as u64).max(1);
            fits = (next, needed);
        } else {
            too_many = next;
            if needed < u64::MAX {
                bytes_each = (needed.saturating_sub(fits.1) / (next - fits.0) as u64).max(1);
            }
        }
    }
    Ok(fits.0)
}

fn tell(buckets: &[Bucket], each: &[u64], all: u64, room: &Room, ranks: usize, news: &mut dyn FnMut(&str)) {
    let smallest = if ranks > 1 { ", as the smallest of all ranks holds them" } else { "" };
    news(&format!("batches that fit in {}, {}{smallest}:", size(room.bytes), room.why));
    news("  seconds     clips      fit    batch  batches       memory");
    for (bucket, &bytes) in buckets.iter().zip(each) {
        let Bucket { frames, examples, fit, utterances } = *bucket;
        news(&format!(
            "{:9.2} {examples:9} {fit:8} {utterances:8} {:8} {:>12}",
            frames as f64 / FRAMES,
            examples.div_ceil(utterances),
            size(bytes)
        ));
    }
    news(&format!("all of them hold {}, parameters and moments among it", size(all)));
}

/// Bytes for people.
fn size(bytes: u64) -> String {
    match bytes as f64 / f64::from(1 << 20) {
        mib if mib < 1024.0 => format!("{mib:.1} MiB"),
        mib => format!("{:.2} GiB", mib / 1024.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_that_fits_is_found_in_few_steps() {
        // A constant, so much each, and a part that grows with the square.
        for (constant, each, square) in [(100, 10, 0), (0, 1, 0), (100, 3, 1), (50, 7, 5)] {
            let bytes = |n: usize| constant + each * n as u64 + square * (n * n) as u64;
            for limit in [bytes(1), bytes(2) - 1, bytes(2), bytes(77) + 1, bytes(1000)] {
                for most in [1, 2, 76, 77, 500] {
                    let mut tried = 0;
                    let found = largest(most, limit, (bytes(1), 0), |n| {
                        tried += 1;
                        assert!((2..=most).contains(&n));
                        Ok(bytes(n))
                    });
                    let right = (1..=most).rev().find(|&n| bytes(n) <= limit).unwrap_or(1);
                    assert_eq!(found.unwrap(), right, "{constant} + {each} n + {square} n²: {limit}, {most}");
                    assert!(tried <= GUESSES + 10, "{tried}");
                }
            }
        }
        // What cannot be at all is no measure of what can.
        let found = largest(64, 100, (2, 0), |n| Ok(if n > 20 { u64::MAX } else { 2 * n as u64 }));
        assert_eq!(found.unwrap(), 20);
    }
}
