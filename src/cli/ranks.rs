//! Training on one device, or on several at once.

use std::sync::Arc;
#[cfg(feature = "mpi")]
use std::sync::atomic::Ordering;
use std::time::Duration;

use pollster::block_on;

use super::adapter::Device;
use super::arguments::{Exchange, Global, Several};
#[cfg(feature = "mpi")]
use super::output::report;
use super::progress::Reporter;
use super::tune_device::tune_at_first;
#[cfg(feature = "mpi")]
use super::{TOLD, tell};
use crate::error::{Error, Remedy, Result};
use crate::gpu::{Gpu, equals};
#[cfg(feature = "mpi")]
use crate::train::{Collective, Mpi};
use crate::train::{Outcome, Progress, Ranks, Request, Terms, Wire, in_threads};

/// A phase of training, as one of several ranks.
pub(super) type Phase = fn(&Ranks, Arc<Gpu>, &Request, &mut dyn Progress) -> Result<Outcome>;

/// Trains on the devices that are asked for, each tuned at first if it `tunes`; `None` where another rank tells the outcome.
///
/// # Errors
/// When a device cannot be opened or the training fails.
pub(super) fn train(
    request: Request,
    tunes: bool,
    several: &Several,
    global: &Global,
    phase: Phase,
) -> Result<Option<Outcome>> {
    #[cfg(feature = "mpi")]
    if launched() {
        return by_mpi(&request, tunes, several, global, phase);
    }
    #[cfg(not(feature = "mpi"))]
    if launched() {
        return Err(Error::usage(
            "this process is one of several that a launcher started, and this polymix is built without MPI; build it \
             with --features mpi, or start one process with --devices",
        ));
    }
    let how = Opening { quiet: global.quiet, tunes };
    let Some(names) = &several.devices else {
        return rank(&Ranks::one(), &global.device, how, &request, phase).map(Some);
    };
    let devices = devices(names)?;
    if devices.len() == 1 {
        return rank(&Ranks::one(), &devices[0], how, &request, phase).map(Some);
    }
    in_threads(devices.len(), terms(several), move |ranks| {
        rank(&ranks, &devices[ranks.rank()], how, &request, phase)
    })
    .map(Some)
}

/// Trains as one process of an MPI job. On a machine with several devices of a kind each rank has the next.
#[cfg(feature = "mpi")]
fn by_mpi(
    request: &Request,
    tunes: bool,
    several: &Several,
    global: &Global,
    phase: Phase,
) -> Result<Option<Outcome>> {
    let job = Mpi::join(terms(several), |text| report(text))?;
    let (mpi, local) = (job.ranks.clone(), job.ranks.local());
    let work = || {
        let devices = match &several.devices {
            Some(names) => devices(names)?,
            None => block_on(equals(&global.device))?.iter().map(usize::to_string).collect(),
        };
        let ranks = Ranks::new(mpi.clone());
        rank(&ranks, &devices[local % devices.len()], Opening { quiet: global.quiet, tunes }, request, phase)
    };
    let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
    let done = done.unwrap_or_else(|_| Err(Error::invalid("panicked; please report it")));
    if let (Err(error), true) = (&done, mpi.size() > 1) {
        mpi.fail(error);
    }
    let leads = mpi.rank() == 0;
    // Before any of them leaves: a launcher ends the others when the first one ends with an error.
    match &done {
        Err(error) if leads => tell(error),
        Err(_) => TOLD.store(true, Ordering::Relaxed),
        Ok(_) => {}
    }
    drop((mpi, job));
    done.map(|outcome| leads.then_some(outcome))
}

/// How a device is opened.
#[derive(Clone, Copy)]
struct Opening {
    quiet: bool,
    tunes: bool,
}

/// Trains as one rank, on the device of that name.
fn rank(ranks: &Ranks, device: &str, how: Opening, request: &Request, phase: Phase) -> Result<Outcome> {
    let Opening { quiet, tunes } = how;
    let several = (ranks.size() > 1).then(|| ranks.rank());
    let train = || {
        let mut device = Device::named(device, quiet, several)?;
        // The other ranks take what this one finds, where they have the same adapter.
        if tunes && ranks.leads() {
            tune_at_first(&mut device, quiet)?;
        }
        let mut reporter = Reporter::new(quiet || !ranks.leads());
        let outcome = phase(ranks, device.gpu.clone(), request, &mut reporter);
        reporter.end();
        outcome.map_err(|error| match error {
            Error::Interrupted => error.advise(Remedy::Resume),
            error => error,
        })
    };
    match ranks.leads() {
        true => train(),
        // What there is to warn of, rank 0 says.
        false => tracing::subscriber::with_default(tracing::subscriber::NoSubscriber::default(), train),
    }
}

fn terms(several: &Several) -> Terms {
    let wire = match several.exchange {
        Exchange::F32 => Wire::F32,
        Exchange::F16 => Wire::F16,
    };
    Terms { limit: Duration::from_secs(several.time_limit), wire }
}

/// The devices of a list, or all of the best kind.
fn devices(names: &str) -> Result<Vec<String>> {
    if names.trim() == "all" {
        return Ok(block_on(equals("auto"))?.iter().map(usize::to_string).collect());
    }
    let names: Vec<String> = names.split(',').map(|name| name.trim().to_owned()).collect();
    match names.iter().any(String::is_empty) {
        true => Err(Error::usage(
            "--devices: a name is empty; give indices of `polymix devices`, such as 0,1, or all",
        )),
        false => Ok(names),
    }
}

/// Whether a launcher such as mpirun or srun started several processes.
fn launched() -> bool {
    let several = |name: &str| {
        std::env::var(name).is_ok_and(|size| size.trim().parse::<usize>().is_ok_and(|size| size > 1))
    };
    let by_slurm = std::env::var_os("PMIX_RANK").is_some() && several("SLURM_STEP_NUM_TASKS");
    by_slurm || ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE"].into_iter().any(several)
}
