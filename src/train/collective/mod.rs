//! Data parallelism: several ranks, each with a device of its own, train one model.
//!
//! A rank computes its share of a step's micro-batches. Their gradients are exchanged by segments, summed in the order
//! of ranks in f32, and gathered, so that all ranks hold the same bits; with one micro-batch a rank these are the bits of
//! a single process, which adds them in the same order. What follows from the gradient (norm, clipping, skipped steps,
//! the scale of the loss) is then the same everywhere. Whatever else all must agree on goes through [`Ranks::all`].

mod device;
#[cfg(feature = "mpi")]
mod mpi;
mod threads;
mod wire;

use std::fmt::Debug;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::stop;
use crate::error::{Error, Remedy, Result};
pub(super) use device::Exchange;
#[cfg(feature = "mpi")]
pub use mpi::{Job, Mpi};
pub use threads::in_threads;
pub use wire::Wire;

/// How ranks talk to each other. All of them call the same operations in the same order; when a rank has failed, has
/// died or is silent for too long, each of them is an error that tells its number.
pub trait Collective: Debug + Send + Sync {
    /// Ranks in the world.
    fn size(&self) -> usize;

    /// The number of this rank, from 0.
    fn rank(&self) -> usize;

    /// Ranks that share this machine.
    fn beside(&self) -> usize;

    /// The messages of all ranks, in their order.
    ///
    /// # Errors
    /// When a rank failed or is silent.
    fn gather(&self, message: Vec<u8>) -> Result<Vec<Vec<u8>>>;

    /// Sums `values`, of the same length everywhere, in the order of ranks in f32; all ranks get the same bits.
    ///
    /// # Errors
    /// When a rank failed or is silent.
    fn sum(&self, values: &mut [f32]) -> Result<()>;

    /// Replaces `values`, of the same length everywhere, by those of rank 0.
    ///
    /// # Errors
    /// When a rank failed or is silent.
    fn broadcast(&self, values: &mut [f32]) -> Result<()>;

    /// Tells all ranks that this one ends with `error`.
    fn fail(&self, error: &Error);
}

/// How long a rank may be silent, and how gradients travel.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    /// The longest silence.
    pub limit: Duration,
    /// Their form on the way.
    pub wire: Wire,
}

impl Default for Terms {
    /// Ten minutes, f32.
    fn default() -> Self {
        Self { limit: Duration::from_secs(600), wire: Wire::F32 }
    }
}

/// The world of a run as one of its ranks sees it. The world of one does nothing and costs nothing.
#[derive(Debug, Clone, Default)]
pub struct Ranks(Option<Arc<dyn Collective>>);

impl Ranks {
    /// The world of one.
    pub fn one() -> Self {
        Self(None)
    }

    /// The world that `collective` talks to.
    pub fn new(collective: Arc<dyn Collective>) -> Self {
        Self(Some(collective).filter(|world| world.size() > 1))
    }

    /// Ranks in the world.
    pub fn size(&self) -> usize {
        self.0.as_ref().map_or(1, |world| world.size())
    }

    /// The number of this rank, from 0.
    pub fn rank(&self) -> usize {
        self.0.as_ref().map_or(0, |world| world.rank())
    }

    /// Whether this is the rank that writes and speaks.
    pub fn leads(&self) -> bool {
        self.rank() == 0
    }

    /// Ranks that share this machine.
    pub fn beside(&self) -> usize {
        self.0.as_ref().map_or(1, |world| world.beside())
    }

    /// Which of a step's `accumulation` micro-batches are this rank's.
    pub fn share(&self, accumulation: usize) -> Range<usize> {
        let each = accumulation / self.size();
        self.rank() * each..(self.rank() + 1) * each
    }

    /// Checks that all ranks have as many of the micro-batches of a step, of which the recipe's `key` tells the number.
    ///
    /// # Errors
    /// When they do not divide; the message says what does.
    pub fn check_share(&self, key: &str, accumulation: usize) -> Result<()> {
        let size = self.size();
        if accumulation.is_multiple_of(size) {
            return Ok(());
        }
        let divisors: Vec<String> = (1..=accumulation.min(1024))
            .filter(|&ranks| accumulation.is_multiple_of(ranks))
            .map(|ranks| ranks.to_string())
            .collect();
        let above = accumulation.next_multiple_of(size);
        let below = if above > size { format!("{} or ", above - size) } else { String::new() };
        Err(Error::usage(format!(
            "{key} = {accumulation} micro-batches of a step are no multiple of {size} ranks: set {key} to {below}{above} \
             (any multiple of {size}), or start {} ranks",
            listed(&divisors)
        )))
    }

    /// An all-gather: the values of all ranks, in their order.
    ///
    /// # Errors
    /// When a rank failed or is silent.
    pub fn all<T: Serialize + DeserializeOwned>(&self, own: T) -> Result<Vec<T>> {
        let Some(world) = &self.0 else { return Ok(vec![own]) };
        let message = serde_json::to_vec(&own).map_err(malformed)?;
        let messages = world.gather(message)?;
        messages.iter().map(|message| serde_json::from_slice(message).map_err(malformed)).collect()
    }

    /// Whether any rank says so.
    ///
    /// # Errors
    /// When a rank failed or is silent.
    pub fn any(&self, own: bool) -> Result<bool> {
        Ok(self.all(own)?.into_iter().any(|one| one))
    }

    /// The result of `work` on rank 0, while the others wait. `work` calls its argument now and then, by which the others
    /// know that it goes on, and it that they do; a stop that any is asked for ends it.
    ///
    /// # Errors
    /// Those of `work`; when a rank failed or is silent; [`Error::Interrupted`].
    pub fn lead<T: Serialize + DeserializeOwned>(
        &self,
        work: impl FnOnce(&mut dyn FnMut() -> Result<()>) -> Result<T>,
    ) -> Result<T> {
        let Some(_) = &self.0 else { return work(&mut || Ok(())) };
        // Nothing as long as the work goes on. It is a list, since in JSON an option of nothing is no option.
        let exchange = |done: Option<T>| -> Result<Option<T>> {
            let done: Vec<T> = done.into_iter().collect();
            let (mut done, stop): (Vec<Vec<T>>, Vec<bool>) =
                self.all((done, stop::interrupted()))?.into_iter().unzip();
            if stop.contains(&true) { Err(Error::Interrupted) } else { Ok(done.swap_remove(0).pop()) }
        };
        let made = match self.leads() {
            true => {
                let made = work(&mut || exchange(None).map(drop))?;
                exchange(Some(made))?
            }
            false => loop {
                if let Some(made) = exchange(None)? {
                    break Some(made);
                }
            },
        };
        made.ok_or_else(|| Error::invalid("rank 0 has said nothing; report this as a defect"))
    }

    /// Checks that all ranks have the same of something. `differs` is the sentence about those that have not.
    ///
    /// # Errors
    /// When they have not; it tells their numbers.
    pub fn same<T: Serialize + DeserializeOwned + PartialEq>(&self, own: T, differs: &str) -> Result<()> {
        let all = self.all(own)?;
        let like = |one: &T| all.iter().filter(|other| *other == one).count();
        // Those of rank 0 count where as many have others.
        let Some(most) = all.iter().rev().max_by_key(|one| like(one)) else { return Ok(()) };
        let odd: Vec<String> =
            (0..all.len()).filter(|&rank| all[rank] != *most).map(|rank| rank.to_string()).collect();
        match odd.len() {
            0 => Ok(()),
            1 => Err(Error::invalid(format!("rank {}: {differs}", odd[0]))),
            _ => Err(Error::invalid(format!("ranks {}: {differs}", listed(&odd)))),
        }
    }

    fn sum(&self, values: &mut [f32]) -> Result<()> {
        self.0.as_ref().map_or(Ok(()), |world| world.sum(values))
    }

    fn broadcast(&self, values: &mut [f32]) -> Result<()> {
        self.0.as_ref().map_or(Ok(()), |world| world.broadcast(values))
    }
}

/// As `1, 2 or 4`.
fn listed(all: &[String]) -> String {
    match all {
        [rest @ .., last] if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        all => all.concat(),
    }
}

fn malformed(error: serde_json::Error) -> Error {
    Error::invalid(format!("a message between ranks is not understood ({error}); start all with one version"))
}

/// `error` with the number of the rank that it befell. Wrong usage is that of all.
fn of_rank(rank: usize, error: &Error) -> Error {
    let told = format!("rank {rank}: {error}");
    match error {
        Error::Interrupted => Error::Interrupted,
        Error::Advised { error, remedy } => of_rank(rank, error).advise(*remedy),
        Error::Usage(text) => Error::Usage(text.clone()),
        Error::Shape { .. } | Error::File { .. } | Error::Invalid(_) => Error::Invalid(told),
        Error::NoAdapter(_) => Error::NoAdapter(told),
        Error::OutOfMemory(_) => Error::OutOfMemory(told),
        Error::DeviceLost(_) => Error::DeviceLost(told),
        Error::Gpu(_) => Error::Gpu(told),
    }
}

/// The ranks that have said nothing for as long as they may.
fn silent(ranks: &[usize], limit: Duration) -> Error {
    let numbers: Vec<String> = ranks.iter().map(usize::to_string).collect();
    let (name, verb) = if ranks.len() == 1 { ("rank", "has") } else { ("ranks", "have") };
    Error::invalid(format!(
        "{name} {} {verb} not answered for {} s; allow more time, or look at that machine and its device",
        numbers.join(", "),
        limit.as_secs_f64()
    ))
    .advise(Remedy::Resume)
}

/// The part of `length` values that rank `rank` of `size` sums.
fn segment(length: usize, rank: usize, size: usize) -> Range<usize> {
    let each = length.div_ceil(size);
    (rank * each).min(length)..((rank + 1) * each).min(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_cover_all_values_once() {
        for (length, size) in [(0, 3), (1, 3), (7, 3), (8, 2), (5, 5), (3, 8)] {
            let all: Vec<usize> = (0..size).flat_map(|rank| segment(length, rank, size)).collect();
            assert_eq!(all, (0..length).collect::<Vec<_>>(), "{length} over {size}");
        }
    }

    #[test]
    fn a_share_that_does_not_divide_says_what_does() {
        #[derive(Debug)]
        struct Three;
        impl Collective for Three {
            fn size(&self) -> usize {
                3
            }
            fn rank(&self) -> usize {
                2
            }
            fn beside(&self) -> usize {
                3
            }
            fn gather(&self, message: Vec<u8>) -> Result<Vec<Vec<u8>>> {
                Ok(vec![message; 3])
            }
            fn sum(&self, _: &mut [f32]) -> Result<()> {
                Ok(())
            }
            fn broadcast(&self, _: &mut [f32]) -> Result<()> {
                Ok(())
            }
            fn fail(&self, _: &Error) {}
        }
        let ranks = Ranks::new(Arc::new(Three));
        assert_eq!(ranks.share(6), 4..6);
        assert!(ranks.check_share("pretrain.optimizer.accumulation", 6).is_ok());
        let error = ranks.check_share("pretrain.optimizer.accumulation", 4).unwrap_err();
        assert!(matches!(error, Error::Usage(_)));
        let error = error.to_string();
        for part in ["accumulation = 4", "3 ranks", "to 3 or 6", "start 1, 2 or 4 ranks"] {
            assert!(error.contains(part), "{error}");
        }
        let error = ranks.check_share("a", 1).unwrap_err().to_string();
        assert!(error.contains("set a to 3 ") && error.contains("start 1 ranks"), "{error}");
        assert_eq!(Ranks::one().share(5), 0..5);
        assert!(Ranks::one().check_share("a", 5).is_ok());
    }
}
