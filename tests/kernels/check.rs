//! One way to test every operation: shapes, kernel, mathematics, gradients, fences, repeatability, grids.

use std::collections::HashSet;
use std::ops::Deref;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, OnceLock, PoisonError};

pub use polymix::check::{Arg, Case, Tolerance};
use polymix::check::{Prepared, works_in_place};
use polymix::exec::Plan;
use polymix::gpu::{Capabilities, DeviceClass, Gpu};
use polymix::ops::Op;
use polymix::shader::MOST_VARIANTS;
use polymix::shape::Spec;
use proptest::test_runner::{Config, RngSeed};

/// The adapter under test and, on GL, the right to use it: a context serves one thread at a time, and gives up on a
/// thread that waits for a second.
pub struct Turn(Arc<Gpu>, #[allow(dead_code)] Option<MutexGuard<'static, ()>>);

impl Deref for Turn {
    type Target = Arc<Gpu>;

    fn deref(&self) -> &Arc<Gpu> {
        &self.0
    }
}

/// Waits for the adapter under test; `None` where there is none and `GPU=required` does not ask for one.
pub fn gpu() -> Option<Turn> {
    static GPU: OnceLock<Option<Arc<Gpu>>> = OnceLock::new();
    static TURN: Mutex<()> = Mutex::new(());
    let gpu = GPU.get_or_init(|| {
        let gpu = crate::adapter::gpu()?;
        let capabilities = gpu.capabilities();
        eprintln!(
            "testing on {} {}, cooperative matrices: {:?}",
            capabilities.backend, capabilities.adapter, capabilities.cooperative
        );
        Some(gpu)
    });
    let gpu = gpu.clone()?;
    // A test that failed leaves nothing half-done.
    let turn =
        (gpu.capabilities().backend == "gl").then(|| TURN.lock().unwrap_or_else(PoisonError::into_inner));
    Some(Turn(gpu, turn))
}

/// Which plans of a case run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Runs {
    /// All that differ from those before them.
    All,
    /// Those that show more than those before them: see [`Shown::lets_pass`].
    WhatShowsMore,
}

/// The devices whose kernels the adapter runs in tests: its own, and grids that fold. One adapter, lavapipe, also runs
/// what GPUs are given, and every variant of a kernel that it runs at all. Most of the time goes to the drivers' compilers:
/// what another adapter compiles, and what forced variants do, is what shows something new.
fn devices(own: &Capabilities) -> Vec<(String, Capabilities, Runs)> {
    let with = |name: &str, runs, change: &dyn Fn(&mut Capabilities)| {
        let mut capabilities = own.clone();
        change(&mut capabilities);
        (name.to_owned(), capabilities, runs)
    };
    let lavapipe = own.backend == "vulkan" && own.adapter.contains("llvmpipe");
    // With subgroups as wide as those of GPUs too, only what shows more.
    let runs = if lavapipe && own.subgroup == 8 { Runs::All } else { Runs::WhatShowsMore };
    let mut devices = vec![
        with("own kernels", runs, &|_| {}),
        with("folded grids and short loops", runs, &|c| (c.fold_grids_at, c.loop_passes) = (2, 600)),
    ];
    if lavapipe {
        devices.push(with("a GPU's kernels", runs, &|c| c.class = DeviceClass::Discrete));
    }
    if runs == Runs::All {
        let variants = 1..=MOST_VARIANTS as u32;
        let forced = |n| with(&format!("variant {n}"), Runs::WhatShowsMore, &|c| c.alternative = n);
        devices.extend(variants.map(forced));
    }
    devices
}

/// What the adapter has run so far: pipelines, and single values of their constants.
#[derive(Default)]
struct Shown {
    pipelines: HashSet<String>,
    values: HashSet<(&'static str, &'static str, u64)>,
}

impl Shown {
    /// Whether the plan is to be run. It shows more if it runs a kernel, or a kernel by the value of a constant, that none
    /// before did, or compiles nothing: what is left out would compile another combination of values seen one by one.
    fn lets_pass(&mut self, plan: &Plan, runs: Runs) -> bool {
        let dispatches = || plan.dispatches.iter().map(|one| (one.kernel.name, &one.overrides));
        let pipelines: Vec<String> =
            dispatches().map(|(kernel, values)| format!("{kernel} {values:?}")).collect();
        let value = |(kernel, values): (_, &Vec<(&'static str, f64)>)| {
            let named = values.iter().map(|(name, value)| (kernel, *name, value.to_bits()));
            named.chain([(kernel, "", 0)]).collect::<Vec<_>>()
        };
        let values: Vec<_> = dispatches().flat_map(value).collect();
        let passes = runs == Runs::All
            || pipelines.iter().all(|one| self.pipelines.contains(one))
            || values.iter().any(|one| !self.values.contains(one));
        if passes {
            self.pipelines.extend(pipelines);
            self.values.extend(values);
        }
        passes
    }
}

static SHOWN: LazyLock<Mutex<Shown>> = LazyLock::new(Mutex::default);

/// proptest with few cases and a fixed seed.
pub fn cases(count: u32) -> Config {
    Config { cases: count, rng_seed: RngSeed::Fixed(7), failure_persistence: None, ..Config::default() }
}

/// The operation refuses these shapes with an error.
pub fn refuses(op: impl Op, specs: &[Spec]) {
    assert!(op.infer(specs).is_err(), "{} accepts {specs:?}", op.name());
}

/// Checks `op` as [`each`] does, with a gradient arriving at its first output.
pub fn check(op: impl Op + 'static, args: &[Arg], tolerance: Tolerance) {
    each([Case::new(op, args, tolerance)]);
}

/// Checks cases: their kernels against the definition; where outputs carry gradients, the derivative against central
/// differences and the derivative's kernel against its definition; on NaN-filled fenced memory, twice; for each of
/// [`devices`]; and all of it in place, where the operation or its derivative can. A plan that differs from no earlier one
/// runs once, and not all run everywhere: see [`Runs`].
pub fn each(cases: impl IntoIterator<Item = Case>) {
    for case in cases {
        let mut case = Prepared::new(case).unwrap();
        case.check_derivative().unwrap();
        let Some(gpu) = gpu() else { continue };
        for (device, capabilities, runs) in devices(gpu.capabilities()) {
            for plan in case.plans(&capabilities).unwrap() {
                if !SHOWN.lock().unwrap_or_else(PoisonError::into_inner).lets_pass(&plan, runs) {
                    continue;
                }
                let what = format!("{:?} ({device}, in place: {})", case.case(), works_in_place(&plan));
                let outcome = pollster::block_on(case.run(&gpu, plan)).unwrap();
                assert!(outcome.faults.is_empty(), "{what}: {}", outcome.faults.join("; "));
            }
        }
    }
}
