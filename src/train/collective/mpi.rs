//! Ranks as processes that an MPI launcher started, on one machine or many.
//!
//! Point to point throughout, so that who is silent is known by number. A failure is a message of its own, which every
//! wait listens for. Memory of the exchange is kept from step to step, and is the process's own: MPI never receives into
//! what a device has mapped.

use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::sleep;
use std::time::Duration;

use ferrompi::{Communicator, Request, Source, Status, ThreadLevel};
use web_time::Instant;

use super::wire::{pack, unpack};
use super::{Collective, Terms, Wire, of_rank, segment, silent};
use crate::error::{Error, Remedy, Result};

/// The kind of a message.
const WORD: i32 = 1;
const FAILURE: i32 = 2;
const PART: i32 = 3;
const SUM: i32 = 4;

/// How long rank 0 waits for the others to end with it, before it ends them.
const GRACE: Duration = Duration::from_secs(5);

/// A process's part in an MPI job, which ends when it is dropped.
#[derive(Debug)]
pub struct Job {
    /// How its ranks talk to each other.
    pub ranks: Arc<Mpi>,
    _job: Leave,
}

/// Ends MPI when it is dropped.
struct Leave(#[allow(dead_code, reason = "held")] ferrompi::Mpi);

impl Debug for Leave {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Leave")
    }
}

/// One process of an MPI job.
pub struct Mpi {
    world: Communicator,
    size: usize,
    rank: usize,
    local: usize,
    beside: usize,
    terms: Terms,
    report: fn(&str),
    kept: Mutex<Kept>,
}

/// Memory of the exchange.
#[derive(Default)]
struct Kept {
    parts: Vec<f32>,
    sum: Vec<f32>,
    sent: Vec<u8>,
    received: Vec<u8>,
}

impl Debug for Mpi {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "rank {} of {} by MPI", self.rank, self.size)
    }
}

impl Mpi {
    /// Joins the job. `report` tells a user of an error that ends the process without returning.
    ///
    /// # Errors
    /// When MPI cannot be initialized.
    pub fn join(terms: Terms, report: fn(&str)) -> Result<Job> {
        let failed = |error: ferrompi::Error| Error::invalid(format!("MPI cannot be initialized: {error}"));
        let mpi = ferrompi::Mpi::init_thread(ThreadLevel::Funneled).map_err(failed)?;
        let world = mpi.world();
        let here = world.split_shared().map_err(failed)?;
        let [size, rank, local, beside] =
            [world.size(), world.rank(), here.rank(), here.size()].map(|number| number.max(0) as usize);
        drop(here);
        let kept = Mutex::default();
        let ranks = Arc::new(Self { world, size, rank, local, beside, terms, report, kept });
        Ok(Job { ranks, _job: Leave(mpi) })
    }

    /// The number of this rank among those of its machine, from 0.
    pub fn local(&self) -> usize {
        self.local
    }

    fn others(&self) -> impl Iterator<Item = usize> {
        let own = self.rank;
        (0..self.size).filter(move |&rank| rank != own)
    }

    /// Ends all processes, after telling why. Those of higher numbers speak only if the others cannot.
    fn end(&self, error: &Error) -> ! {
        sleep(Duration::from_secs(2 * self.rank as u64));
        (self.report)(&error.to_string());
        self.world.abort(code(error))
    }

    /// What MPI gave; it leaves nothing to go on with where it fails.
    fn checked<T>(&self, result: ferrompi::Result<T>) -> T {
        result.unwrap_or_else(|error| {
            self.end(&of_rank(
                self.rank,
                &Error::invalid(format!("MPI failed: {error}")).advise(Remedy::Resume),
            ))
        })
    }

    /// The message of `tag` from `rank`, if it is there.
    fn waiting_message(&self, rank: usize, tag: i32) -> Option<Vec<u8>> {
        let found = self.checked(self.world.iprobe::<u8>(rank as i32, tag));
        found.map(|status| self.received(&status))
    }

    fn received(&self, status: &Status) -> Vec<u8> {
        let mut message = vec![0; status.count.unwrap_or_default()];
        self.checked(self.world.recv(&mut message, status.source, status.tag));
        message
    }

    /// Ends the process if another one has failed.
    fn listen(&self) {
        let Some(status) = self.checked(self.world.iprobe::<u8>(Source::Any, FAILURE)) else { return };
        let message = self.received(&status);
        let (code, text) = message.split_first().unwrap_or((&1, b"a rank failed"));
        let text = String::from_utf8_lossy(text);
        if self.rank > 0 {
            // Rank 0 is told as well; it may be computing.
            sleep(self.terms.limit);
        }
        (self.report)(&text);
        self.world.abort(i32::from(*code))
    }

    /// Polls `done`, which returns the ranks that are still waited for, until there are none.
    fn wait(&self, mut done: impl FnMut() -> Vec<usize>) {
        let (mut last, mut waited) = (Instant::now(), Duration::ZERO);
        loop {
            let pending = done();
            if pending.is_empty() {
                return;
            }
            self.listen();
            // A process that was itself stopped meanwhile has waited for nobody.
            waited += last.elapsed().min(Duration::from_secs(1));
            last = Instant::now();
            if waited > self.terms.limit {
                self.end(&silent(&pending, self.terms.limit));
            }
            // At first without sleep, for the sake of fast networks.
            if waited > Duration::from_millis(2) {
                sleep((waited / 50).min(Duration::from_millis(5)));
            }
        }
    }

    fn complete(&self, mut requests: Vec<(usize, Request<'_>)>) {
        self.wait(|| {
            requests.retain_mut(|(_, request)| self.checked(request.test()).is_none());
            requests.iter().map(|(rank, _)| *rank).collect()
        });
    }

    /// Sends `own` to all others, and receives into each of `theirs` what the others send as theirs.
    fn share<'a, T: ferrompi::MpiDatatype>(
        &self,
        own: &'a [T],
        theirs: impl IntoIterator<Item = (usize, &'a mut [T])>,
    ) {
        let theirs: Vec<_> = theirs.into_iter().collect();
        self.checked(ferrompi::scope(|scope| {
            let mut requests = Vec::with_capacity(2 * self.size);
            for (rank, into) in theirs {
                requests.push((rank, self.world.irecv(scope, into, rank as i32, SUM)?));
            }
            for rank in self.others() {
                requests.push((rank, self.world.isend(scope, own, rank as i32, SUM)?));
            }
            self.complete(requests);
            Ok(())
        }));
    }

    /// Gathers the segments of `values`, of which each rank has its own.
    fn gather_segments(&self, values: &mut [f32]) {
        let (mut own, mut theirs) = (&[][..], Vec::with_capacity(self.size));
        for (rank, part) in parts(values, self.size).into_iter().enumerate() {
            match rank == self.rank {
                true => own = part,
                false => theirs.push((rank, part)),
            }
        }
        self.share(own, theirs);
    }

    /// Leaves in the own segment of `values` the sum of all ranks'.
    fn sum_own(&self, values: &mut [f32], kept: &mut Kept) {
        let own = segment(values.len(), self.rank, self.size);
        let Kept { parts, sum, .. } = kept;
        parts.resize(self.size * own.len(), 0.0);
        let all = &*values;
        self.checked(ferrompi::scope(|scope| {
            let mut requests = Vec::with_capacity(2 * self.size);
            let places = parts.chunks_mut(own.len().max(1)).enumerate();
            for (rank, into) in places.filter(|(rank, _)| *rank != self.rank) {
                requests.push((rank, self.world.irecv(scope, into, rank as i32, PART)?));
            }
            for rank in self.others() {
                let part = &all[segment(all.len(), rank, self.size)];
                if !part.is_empty() {
                    requests.push((rank, self.world.isend(scope, part, rank as i32, PART)?));
                }
            }
            self.complete(requests);
            Ok(())
        }));
        let part = |rank: usize| match rank == self.rank {
            true => &values[own.clone()],
            false => &parts[rank * own.len()..(rank + 1) * own.len()],
        };
        sum.clear();
        sum.extend_from_slice(part(0));
        (1..self.size).for_each(|rank| sum.iter_mut().zip(part(rank)).for_each(|(sum, value)| *sum += value));
        values[own].copy_from_slice(sum);
    }

    /// As [`Mpi::sum_own`] and [`Mpi::gather_segments`], with f16 on the way.
    fn sum_f16(&self, values: &mut [f32], kept: &mut Kept) {
        let length = values.len();
        let own = segment(length, self.rank, self.size);
        // The largest segment, behind its scale.
        let room = 4 + 2 * length.div_ceil(self.size);
        let Kept { sum, sent, received, .. } = kept;
        sent.resize(self.size * room, 0);
        received.resize(self.size * room, 0);
        for (rank, into) in sent.chunks_mut(room).enumerate() {
            let part = segment(length, rank, self.size);
            pack(&values[part.clone()], &mut into[..4 + 2 * part.len()]);
        }
        self.checked(ferrompi::scope(|scope| {
            let mut requests = Vec::with_capacity(2 * self.size);
            let places = received.chunks_mut(room).enumerate();
            for (rank, into) in places.filter(|(rank, _)| *rank != self.rank) {
                requests.push((rank, self.world.irecv(scope, into, rank as i32, PART)?));
            }
            for (rank, part) in sent.chunks(room).enumerate().filter(|(rank, _)| *rank != self.rank) {
                requests.push((rank, self.world.isend(scope, part, rank as i32, PART)?));
            }
            self.complete(requests);
            Ok(())
        }));
        received[self.rank * room..][..room].copy_from_slice(&sent[self.rank * room..][..room]);
        sum.clear();
        for (rank, part) in received.chunks(room).enumerate() {
            let values = unpack(&part[..4 + 2 * own.len()]);
            match rank {
                0 => sum.extend(values),
                _ => sum.iter_mut().zip(values).for_each(|(sum, value)| *sum += value),
            }
        }
        pack(sum, &mut sent[..4 + 2 * own.len()]);
        let own_sum = &sent[..room];
        let places = received.chunks_mut(room).enumerate();
        self.share(own_sum, places.filter(|(rank, _)| *rank != self.rank));
        received[self.rank * room..][..room].copy_from_slice(&sent[..room]);
        for (part, from) in parts(values, self.size).into_iter().zip(received.chunks(room)) {
            let bytes = 4 + 2 * part.len();
            part.iter_mut().zip(unpack(&from[..bytes])).for_each(|(value, sum)| *value = sum);
        }
    }
}

/// The segments of all ranks.
fn parts(mut values: &mut [f32], size: usize) -> Vec<&mut [f32]> {
    let length = values.len();
    let each = |rank: usize| {
        let (part, rest) = std::mem::take(&mut values).split_at_mut(segment(length, rank, size).len());
        values = rest;
        part
    };
    (0..size).map(each).collect()
}

/// The exit code of the process.
fn code(error: &Error) -> i32 {
    if matches!(error.kind(), Error::Usage(_)) { 2 } else { 1 }
}

impl Collective for Mpi {
    fn size(&self) -> usize {
        self.size
    }

    fn rank(&self) -> usize {
        self.rank
    }

    fn beside(&self) -> usize {
        self.beside
    }

    fn gather(&self, message: Vec<u8>) -> Result<Vec<Vec<u8>>> {
        let mut all: Vec<Option<Vec<u8>>> = vec![None; self.size];
        self.checked(ferrompi::scope(|scope| {
            let mut sends = Vec::with_capacity(self.size);
            for rank in self.others() {
                sends.push((rank, self.world.isend(scope, &message, rank as i32, WORD)?));
            }
            self.wait(|| {
                for rank in self.others() {
                    if all[rank].is_none() {
                        all[rank] = self.waiting_message(rank, WORD);
                    }
                }
                self.others().filter(|&rank| all[rank].is_none()).collect()
            });
            self.complete(sends);
            Ok(())
        }));
        Ok(all.into_iter().map(|one| one.unwrap_or_else(|| message.clone())).collect())
    }

    fn sum(&self, values: &mut [f32]) -> Result<()> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        match self.terms.wire {
            Wire::F32 => {
                self.sum_own(values, &mut kept);
                self.gather_segments(values);
            }
            Wire::F16 => self.sum_f16(values, &mut kept),
        }
        Ok(())
    }

    fn broadcast(&self, values: &mut [f32]) -> Result<()> {
        let (length, size) = (values.len(), self.size);
        self.checked(ferrompi::scope(|scope| {
            let mut requests = Vec::with_capacity(size);
            if self.rank == 0 {
                for rank in self.others() {
                    let part = &values[segment(length, rank, size)];
                    requests.push((rank, self.world.isend(scope, part, rank as i32, PART)?));
                }
            } else {
                let own = &mut values[segment(length, self.rank, size)];
                requests.push((0, self.world.irecv(scope, own, 0, PART)?));
            }
            self.complete(requests);
            Ok(())
        }));
        self.gather_segments(values);
        Ok(())
    }

    /// Returns when all ranks end; where they do not, it ends them.
    fn fail(&self, error: &Error) {
        let error = of_rank(self.rank, error);
        let message = [&[code(&error) as u8], error.to_string().as_bytes()].concat();
        self.checked(ferrompi::scope(|scope| {
            let mut sends = Vec::with_capacity(self.size);
            for rank in self.others() {
                sends.push((rank, self.world.isend(scope, &message, rank as i32, FAILURE)?));
            }
            let begun = Instant::now();
            let mut waited_for: Vec<usize> = if self.rank == 0 { self.others().collect() } else { vec![0] };
            while !waited_for.is_empty() {
                waited_for.retain(|&rank| self.waiting_message(rank, FAILURE).is_none());
                let limit = match (self.rank, error.kind()) {
                    // All end for the same reason.
                    (0, Error::Interrupted | Error::Usage(_)) => GRACE,
                    (0, _) => Duration::ZERO,
                    _ => self.terms.limit,
                };
                if begun.elapsed() > limit {
                    (self.report)(&error.to_string());
                    self.world.abort(code(&error));
                }
                sleep(Duration::from_millis(2));
            }
            self.complete_sends(sends);
            Ok(())
        }));
    }
}

impl Mpi {
    /// Small messages are on their way at once.
    fn complete_sends(&self, mut sends: Vec<(usize, Request<'_>)>) {
        let begun = Instant::now();
        while !sends.is_empty() && begun.elapsed() < GRACE {
            sends.retain_mut(|(_, request)| self.checked(request.test()).is_none());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_the_segments() {
        let mut values: Vec<f32> = (0..7).map(|i| i as f32).collect();
        let parts: Vec<Vec<f32>> = parts(&mut values, 3).into_iter().map(|part| part.to_vec()).collect();
        assert_eq!(parts, [vec![0.0, 1.0, 2.0], vec![3.0, 4.0, 5.0], vec![6.0]]);
    }
}
