//! One way to test every operation: shapes, kernel, mathematics, gradients, fences, repeatability, grids.

use std::collections::HashSet;
use std::num::NonZero;
use std::ops::Deref;
use std::sync::{Arc, Condvar, LazyLock, Mutex, PoisonError};

pub use polymix::check::{Arg, Case, Tolerance};
use polymix::check::{Prepared, works_in_place};
use polymix::exec::Plan;
use polymix::gpu::{Capabilities, DeviceClass, Gpu};
use polymix::ops::Op;
use polymix::shader::MOST_VARIANTS;
use polymix::shape::Spec;
use proptest::test_runner::{Config, RngSeed};

/// A place on the adapter under test, for one test at a time.
pub struct Turn(Arc<Gpu>);

/// The places that are free, as many as cores. On lavapipe each is a device of its own, since a device compiles kernels on
/// one thread. On GL there is one: a context serves one thread at a time, and gives up on a thread that waits for a second.
struct Places {
    free: Mutex<Vec<Arc<Gpu>>>,
    returned: Condvar,
}

static PLACES: LazyLock<Option<Places>> = LazyLock::new(|| {
    let first = crate::adapter::gpu()?;
    let capabilities = first.capabilities();
    eprintln!(
        "testing on {} {}, cooperative matrices: {:?}",
        capabilities.backend, capabilities.adapter, capabilities.cooperative
    );
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    let places = if capabilities.backend == "gl" { 1 } else { cores };
    let another = || if is_lavapipe(capabilities) { crate::adapter::gpu() } else { Some(first.clone()) };
    let mut free: Vec<Arc<Gpu>> = (1..places).filter_map(|_| another()).collect();
    free.push(first.clone());
    Some(Places { free: Mutex::new(free), returned: Condvar::new() })
});

/// Waits for a place on the adapter under test; `None` where there is none and `GPU=required` does not ask for one.
pub fn gpu() -> Option<Turn> {
    let places = PLACES.as_ref()?;
    let mut free = places.free.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        match free.pop() {
            Some(gpu) => return Some(Turn(gpu)),
            None => free = places.returned.wait(free).unwrap_or_else(PoisonError::into_inner),
        }
    }
}

impl Deref for Turn {
    type Target = Arc<Gpu>;

    fn deref(&self) -> &Arc<Gpu> {
        &self.0
    }
}

impl Drop for Turn {
    /// A test that failed leaves nothing half-done.
    fn drop(&mut self) {
        if let Some(places) = &*PLACES {
            places.free.lock().unwrap_or_else(PoisonError::into_inner).push(self.0.clone());
            places.returned.notify_one();
        }
    }
}

/// Which plans of a case run: those that compile nothing new, and those that show more than any before them. Most of the
/// time of tests goes to the drivers' compilers; what is left out would compile another combination of what has been seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Coverage {
    /// A kernel, or a pair of values of its constants.
    Pairs,
    /// A kernel, or a value of its constants.
    Values,
    /// A kernel, or a value of a constant of its family.
    Families,
}

fn is_lavapipe(own: &Capabilities) -> bool {
    own.backend == "vulkan" && own.adapter.contains("llvmpipe")
}

/// Whether it is a software adapter beside lavapipe.
fn is_second(own: &Capabilities) -> bool {
    own.class == DeviceClass::Cpu && !is_lavapipe(own)
}

/// The devices whose kernels the adapter runs in tests: its own, and grids that fold. One adapter, lavapipe, also runs
/// what GPUs are given, and every variant of a kernel that it runs at all.
fn devices(own: &Capabilities) -> Vec<(String, Capabilities, Coverage)> {
    let with = |name: &str, coverage, change: &dyn Fn(&mut Capabilities)| {
        let mut capabilities = own.clone();
        change(&mut capabilities);
        (name.to_owned(), capabilities, coverage)
    };
    let lavapipe = is_lavapipe(own);
    let is_first = lavapipe && own.subgroup == 8;
    // The GL driver's compiler is the slowest; it is given the same kernels as SwiftShader.
    let coverage = match own.backend.as_str() {
        _ if is_first => Coverage::Pairs,
        "gl" => Coverage::Families,
        _ => Coverage::Values,
    };
    let mut devices = vec![with("own kernels", coverage, &|_| {})];
    if is_first || !lavapipe {
        let change = |c: &mut Capabilities| (c.fold_grids_at, c.loop_passes) = (2, 600);
        devices.push(with("folded grids and short loops", coverage, &change));
    }
    if lavapipe {
        devices.push(with("a GPU's kernels", Coverage::Values, &|c| c.class = DeviceClass::Discrete));
    }
    if is_first {
        let variants = 1..=MOST_VARIANTS as u32;
        let forced = |n| {
            with(&format!("variant {n}"), Coverage::Families, &|c| {
                (c.class, c.alternative) = (DeviceClass::Discrete, n)
            })
        };
        devices.extend(variants.map(forced));
    }
    devices
}

/// What the adapter has run so far: pipelines, and what they show.
#[derive(Default)]
struct Shown {
    pipelines: HashSet<String>,
    features: HashSet<String>,
}

impl Shown {
    /// Whether the plan is to be run.
    fn lets_pass(&mut self, plan: &Plan, coverage: Coverage) -> bool {
        let dispatches = || plan.dispatches.iter().map(|one| (one.kernel.name, &one.overrides, one.f16));
        let pipelines: Vec<String> =
            dispatches().map(|(kernel, constants, f16)| format!("{kernel} {constants:?} {f16}")).collect();
        let mut features: Vec<String> = dispatches().map(|(kernel, ..)| kernel.to_owned()).collect();
        for (kernel, constants, f16) in dispatches() {
            let family = kernel.split('/').next().unwrap_or(kernel);
            let of = if coverage == Coverage::Families { family } else { kernel };
            // Which bindings are in f16 counts where kernels do.
            let bindings = if coverage == Coverage::Families { f16.min(1) } else { f16 };
            features.push(format!("{of} {bindings}"));
            for (at, first) in constants.iter().enumerate() {
                features.push(format!("{of} {first:?}"));
                let others = if coverage == Coverage::Pairs { &constants[..at] } else { &[] };
                features.extend(others.iter().map(|second| format!("{kernel} {first:?} {second:?}")));
            }
        }
        let passes = pipelines.iter().all(|one| self.pipelines.contains(one))
            || features.iter().any(|one| !self.features.contains(one));
        if passes {
            self.pipelines.extend(pipelines);
            self.features.extend(features);
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
/// runs once, and not all run everywhere: see [`Coverage`].
pub fn each(cases: impl IntoIterator<Item = Case>) {
    for case in cases {
        let mut case = Prepared::new(case).unwrap();
        let gpu = gpu();
        // Definitions are the same everywhere: where another software adapter is tried too, lavapipe's run checks them.
        if !gpu.as_ref().is_some_and(|gpu| is_second(gpu.capabilities())) {
            case.check_derivative().unwrap();
        }
        let Some(gpu) = gpu else { continue };
        for (device, capabilities, coverage) in devices(gpu.capabilities()) {
            for plan in case.plans(&capabilities).unwrap() {
                if !SHOWN.lock().unwrap_or_else(PoisonError::into_inner).lets_pass(&plan, coverage) {
                    continue;
                }
                let what = format!("{:?} ({device}, in place: {})", case.case(), works_in_place(&plan));
                let outcome = pollster::block_on(case.run(&gpu, plan)).unwrap();
                assert!(outcome.faults.is_empty(), "{what}: {}", outcome.faults.join("; "));
            }
        }
    }
}
