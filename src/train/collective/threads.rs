//! Ranks as threads of one process, each with a device of its own.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use web_time::Instant;

use super::{Collective, Ranks, Terms, of_rank, segment, silent};
use crate::error::{Error, Result};

/// How long ranks that are asked to end may take for it when another is silent.
const GRACE: Duration = Duration::from_secs(5);

/// One rank of a world of threads.
#[derive(Debug)]
struct Threads {
    world: Arc<World>,
    rank: usize,
}

#[derive(Debug)]
struct World {
    size: usize,
    terms: Terms,
    meeting: Mutex<Meeting>,
    changed: Condvar,
    /// The values of each rank. Kept, as are the sums.
    slots: Vec<RwLock<Vec<f32>>>,
    /// What each rank summed.
    sums: Vec<RwLock<Vec<f32>>>,
}

/// Where ranks wait for each other.
#[derive(Debug, Default)]
struct Meeting {
    /// Counts the meetings.
    number: u64,
    messages: Vec<Option<Vec<u8>>>,
    /// Those of the last meeting.
    received: Vec<Vec<u8>>,
    failure: Option<Error>,
    /// Whether the failure is that someone says nothing.
    silent: bool,
}

impl World {
    fn meeting(&self) -> MutexGuard<'_, Meeting> {
        self.meeting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps the first failure, and wakes all who wait.
    fn fail(&self, error: Error) {
        self.meeting().failure.get_or_insert(error);
        self.changed.notify_all();
    }
}

impl Threads {
    fn publish(&self, to: &[RwLock<Vec<f32>>], values: &[f32]) {
        let mut slot = to[self.rank].write().unwrap_or_else(PoisonError::into_inner);
        slot.clear();
        slot.extend_from_slice(values);
    }

    /// Waits for all ranks.
    fn meet(&self) -> Result<()> {
        self.gather(Vec::new()).map(drop)
    }
}

impl Collective for Threads {
    fn size(&self) -> usize {
        self.world.size
    }

    fn rank(&self) -> usize {
        self.rank
    }

    fn beside(&self) -> usize {
        self.world.size
    }

    fn gather(&self, message: Vec<u8>) -> Result<Vec<Vec<u8>>> {
        let limit = self.world.terms.limit;
        let until = Instant::now() + limit;
        let mut meeting = self.world.meeting();
        meeting.messages[self.rank] = Some(message);
        let number = meeting.number;
        if meeting.messages.iter().all(Option::is_some) {
            meeting.received = meeting.messages.iter_mut().filter_map(Option::take).collect();
            meeting.number += 1;
            self.world.changed.notify_all();
        }
        loop {
            // What all have said counts, though one may have failed since.
            if meeting.number != number {
                return Ok(meeting.received.clone());
            }
            if let Some(failure) = &meeting.failure {
                return Err(failure.clone());
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let absent: Vec<usize> =
                    (0..self.world.size).filter(|&rank| meeting.messages[rank].is_none()).collect();
                let error = silent(&absent, limit);
                (meeting.failure, meeting.silent) = (Some(error.clone()), true);
                self.world.changed.notify_all();
                return Err(error);
            }
            let waited = self.world.changed.wait_timeout(meeting, left);
            meeting = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn sum(&self, values: &mut [f32]) -> Result<()> {
        let World { size, terms, slots, sums, .. } = &*self.world;
        let length = values.len();
        // Others read segments as they would arrive.
        for rank in 0..*size {
            terms.wire.round(&mut values[segment(length, rank, *size)]);
        }
        self.publish(slots, values);
        self.meet()?;
        let own = &mut values[segment(length, self.rank, *size)];
        for (rank, slot) in slots.iter().enumerate() {
            let slot = slot.read().unwrap_or_else(PoisonError::into_inner);
            let theirs = slot.get(segment(slot.len(), self.rank, *size)).unwrap_or_default();
            if theirs.len() != own.len() {
                return Err(Error::invalid(
                    "ranks exchange gradients of other lengths; report this as a defect",
                ));
            }
            match rank {
                0 => own.copy_from_slice(theirs),
                _ => own.iter_mut().zip(theirs).for_each(|(sum, value)| *sum += value),
            }
        }
        terms.wire.round(own);
        self.publish(sums, own);
        self.meet()?;
        for (rank, sum) in sums.iter().enumerate().filter(|(rank, _)| *rank != self.rank) {
            let part = segment(length, rank, *size);
            values[part].copy_from_slice(&sum.read().unwrap_or_else(PoisonError::into_inner));
        }
        Ok(())
    }

    fn broadcast(&self, values: &mut [f32]) -> Result<()> {
        if self.rank == 0 {
            self.publish(&self.world.slots, values);
        }
        self.meet()?;
        if self.rank != 0 {
            values.copy_from_slice(&self.world.slots[0].read().unwrap_or_else(PoisonError::into_inner));
        }
        // The next operation writes there again.
        self.meet()
    }

    fn fail(&self, error: &Error) {
        self.world.fail(of_rank(self.rank, error));
    }
}

/// Runs `work` as `size` ranks, each in a thread, and gives the result of rank 0. A rank that fails, panics or is silent
/// ends all of them. One that is silent for good is left behind: the process should end then.
///
/// # Errors
/// The first error of a rank, with its number.
pub fn in_threads<T: Send + 'static>(
    size: usize,
    terms: Terms,
    work: impl Fn(Ranks) -> Result<T> + Send + Sync + 'static,
) -> Result<T> {
    let slots = || (0..size).map(|_| RwLock::default()).collect();
    let meeting = Meeting { messages: vec![None; size], ..Meeting::default() };
    let world = Arc::new(World {
        size,
        terms,
        meeting: Mutex::new(meeting),
        changed: Condvar::new(),
        slots: slots(),
        sums: slots(),
    });
    let (work, (sender, ended)) = (Arc::new(work), mpsc::channel());
    for rank in 0..size {
        let (shared, work, sender) = (world.clone(), work.clone(), sender.clone());
        let begin = move || {
            let threads = Arc::new(Threads { world: shared, rank });
            let done = catch_unwind(AssertUnwindSafe(|| work(Ranks::new(threads.clone()))));
            let done = done.unwrap_or_else(|_| Err(Error::invalid("panicked; please report it")));
            if let Err(error) = &done {
                threads.fail(error);
            }
            // Nobody listens any more where another has failed.
            let _ = sender.send((rank, done));
        };
        let thread = std::thread::Builder::new().name(format!("rank {rank}")).spawn(begin);
        if let Err(error) = thread {
            let error = Error::invalid(format!("a thread for rank {rank} cannot be started: {error}"));
            world.fail(error);
            break;
        }
    }
    drop(sender);
    let mut first = None;
    let mut failed_at: Option<Instant> = None;
    loop {
        match ended.recv_timeout(Duration::from_millis(100)) {
            Ok((0, Ok(value))) => first = Some(value),
            Ok(_) | Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        // Others end by themselves, the one that writes among them; who is silent is not waited for.
        let patience = match &*world.meeting() {
            Meeting { failure: None, .. } => continue,
            Meeting { silent: true, .. } => GRACE,
            Meeting { .. } => terms.limit,
        };
        if failed_at.get_or_insert_with(Instant::now).elapsed() > patience {
            break;
        }
    }
    let failure = world.meeting().failure.clone();
    match (failure, first) {
        (Some(failure), _) => Err(failure),
        (None, Some(value)) => Ok(value),
        (None, None) => Err(Error::invalid("rank 0 ended without a result; report this as a defect")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Wire;
    use super::*;

    #[test]
    fn sums_are_those_of_one_after_the_other() {
        // Values whose sum depends on the order.
        let of = |rank: usize| -> Vec<f32> {
            (0..1000)
                .map(|i| ((i * 7919 + rank * 104_729) % 1009) as f32 * 1.1_f32.powi(rank as i32 * 9) - 300.0)
                .collect()
        };
        for size in [2, 3, 5] {
            let sums = in_threads(size, Terms::default(), move |ranks| {
                let mut all = Vec::new();
                // Memory of earlier sums is used again.
                for length in [1000, 7, 1, 0, 999] {
                    let mut values = of(ranks.rank())[..length].to_vec();
                    ranks.sum(&mut values)?;
                    all.push(values.into_iter().map(f32::to_bits).collect::<Vec<u32>>());
                }
                ranks.same(all.clone(), "has other sums")?;
                Ok(all)
            })
            .unwrap();
            let mut expected = of(0);
            for rank in 1..size {
                expected.iter_mut().zip(of(rank)).for_each(|(sum, value)| *sum += value);
            }
            let expected: Vec<u32> = expected.into_iter().map(f32::to_bits).collect();
            for (sum, length) in sums.iter().zip([1000, 7, 1, 0, 999]) {
                assert_eq!(sum, &expected[..length]);
            }
        }
    }

    #[test]
    fn f16_on_the_way_is_the_same_everywhere() {
        let terms = Terms { wire: Wire::F16, ..Terms::default() };
        let sums = in_threads(3, terms, |ranks| {
            let mut values: Vec<f32> = (0..100).map(|i| 1e6 * (i + ranks.rank()) as f32).collect();
            ranks.sum(&mut values)?;
            ranks.same(values.clone(), "has other sums")?;
            Ok(values)
        })
        .unwrap();
        for (i, sum) in sums.into_iter().enumerate() {
            let exact = 1e6 * (3 * i + 3) as f32;
            assert!((sum - exact).abs() <= 1e-3 * 3e8, "{sum} for {exact}");
        }
    }

    #[test]
    fn one_that_fails_or_panics_ends_all_with_its_number() {
        let failed = |work: fn(&Ranks) -> Result<()>| {
            let begun = Instant::now();
            let ended = in_threads(3, Terms::default(), move |ranks| {
                ranks.all(0)?;
                work(&ranks)?;
                ranks.sum(&mut [1.0; 9]).map(|()| ranks.size())
            });
            assert!(begun.elapsed() < Duration::from_secs(20));
            ended.unwrap_err()
        };
        let error = failed(|ranks| match ranks.rank() {
            2 => Err(Error::OutOfMemory("the GPU is full".into())),
            _ => Ok(()),
        });
        assert!(matches!(&error, Error::OutOfMemory(text) if text == "rank 2: the GPU is full"), "{error}");
        let error = failed(|ranks| match ranks.rank() {
            0 => Err(Error::Interrupted),
            _ => Ok(()),
        });
        assert!(matches!(error, Error::Interrupted));
        let error = failed(|ranks| {
            assert_ne!(ranks.rank(), 1);
            Ok(())
        });
        assert!(error.to_string().starts_with("rank 1: panicked"), "{error}");
        let error = failed(|ranks| ranks.same(ranks.rank() == 1, "is another"));
        assert_eq!(error.to_string().split_once(": ").unwrap().1, "rank 1: is another");
    }

    #[test]
    fn one_that_is_silent_ends_all_with_its_number() {
        let terms = Terms { limit: Duration::from_secs(2), ..Terms::default() };
        let begun = Instant::now();
        let error = in_threads(3, terms, |ranks| {
            ranks.all(0)?;
            if ranks.rank() == 1 {
                std::thread::sleep(Duration::from_secs(60));
            }
            ranks.broadcast(&mut [0.0])
        });
        let error = error.unwrap_err().to_string();
        assert!(error.contains("rank 1 has not answered for 2 s"), "{error}");
        assert!(begun.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn work_of_the_first_is_waited_for_as_long_as_it_goes_on() {
        let terms = Terms { limit: Duration::from_secs(1), ..Terms::default() };
        let made = in_threads(2, terms, |ranks| {
            let made = ranks.lead(|beat| {
                for _ in 0..15 {
                    std::thread::sleep(Duration::from_millis(100));
                    beat()?;
                }
                Ok("made".to_owned())
            })?;
            assert_eq!(ranks.lead(|_| Ok(()))?, ());
            assert_eq!(ranks.lead(|_| Ok(None::<u32>))?, None);
            ranks.same(made.clone(), "received another")?;
            Ok(made)
        });
        assert_eq!(made.unwrap(), "made");
    }
}
