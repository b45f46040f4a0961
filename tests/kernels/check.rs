//! One way to test every operation: shapes, kernel, mathematics, gradients, fences, repeatability, grids.

use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

pub use polymix::check::{Arg, Case, Tolerance};
use polymix::check::{Prepared, works_in_place};
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

/// The devices whose kernels the adapter runs in tests: its own, and grids that fold. One adapter, lavapipe, also runs
/// what GPUs are given, and every variant of a kernel that it runs at all; elsewhere they would be compiled for nothing.
fn devices(own: &Capabilities) -> Vec<(String, Capabilities)> {
    let with = |name: &str, change: &dyn Fn(&mut Capabilities)| {
        let mut capabilities = own.clone();
        change(&mut capabilities);
        (name.to_owned(), capabilities)
    };
    let small = with("folded grids and short loops", &|c| (c.fold_grids_at, c.loop_passes) = (2, 600));
    let mut devices = vec![with("own kernels", &|_| {}), small];
    if own.backend == "vulkan" && own.adapter.contains("llvmpipe") {
        devices.push(with("a GPU's kernels", &|c| c.class = DeviceClass::Discrete));
        // With subgroups as wide as those of GPUs, only what is chosen there and here.
        if own.subgroup != 8 {
            devices.remove(1);
            return devices;
        }
        let variants = 1..=MOST_VARIANTS as u32;
        devices.extend(variants.map(|n| with(&format!("variant {n}"), &|c| c.alternative = n)));
    }
    devices
}

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
/// runs once.
pub fn each(cases: impl IntoIterator<Item = Case>) {
    for case in cases {
        let mut case = Prepared::new(case).unwrap();
        case.check_derivative().unwrap();
        let Some(gpu) = gpu() else { continue };
        for (device, capabilities) in devices(gpu.capabilities()) {
            for plan in case.plans(&capabilities).unwrap() {
                let what = format!("{:?} ({device}, in place: {})", case.case(), works_in_place(&plan));
                let outcome = pollster::block_on(case.run(&gpu, plan)).unwrap();
                assert!(outcome.faults.is_empty(), "{what}: {}", outcome.faults.join("; "));
            }
        }
    }
}
