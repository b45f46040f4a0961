use std::collections::BTreeSet;
use std::sync::Arc;

use pollster::block_on;

use super::*;
use crate::error::{Error, Result};
use crate::exec::{Compute, Operand, Plan, Recorder};
use crate::gpu::{Capabilities, DeviceClass, Gpu, MatrixSize, Selection};
use crate::ops::{Array, Op};
use crate::shader::ALL;
use crate::shader::layout::copy;
use crate::shape::Spec;

fn gpu() -> Option<Arc<Gpu>> {
    let device = std::env::var("POLYMIX_DEVICE").unwrap_or_default();
    match block_on(Gpu::new(&Selection { device, ..Selection::default() })) {
        Ok(gpu) => Some(Arc::new(gpu)),
        Err(Error::NoAdapter(reason)) if std::env::var("GPU").as_deref() != Ok("required") => {
            eprintln!("skipped: {reason}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// A copy, by a "driver" whose vectorized kernel leaves out the last four if `short`, and by a definition that adds `off`.
#[derive(Debug, Clone)]
struct Copied {
    short: bool,
    off: f64,
}

impl Op for Copied {
    fn name(&self) -> &'static str {
        "copied"
    }

    fn infer(&self, inputs: &[Spec]) -> Result<Vec<Spec>> {
        Ok(inputs.to_vec())
    }

    fn record(&self, rec: &mut Recorder, inputs: &[Operand], outputs: &[Operand]) -> Result<()> {
        let elements = inputs[0].elements() as u32;
        let mut params = copy::Params {
            elements,
            size_1: 1,
            size_2: 1,
            size_3: elements,
            x_3: 1,
            y_3: 1,
            ..Default::default()
        };
        let choice = rec.choose(copy::VARIANTS, &[], &params, &[], elements as usize)?;
        if self.short && choice.variant.kernel.name == VECTORIZED {
            params.elements -= 4;
        }
        rec.dispatch(copy::VARIANTS, &[], &params, &[&inputs[0], &outputs[0]], elements as usize)
    }

    fn reference(&self, inputs: &[&Array]) -> Vec<Array> {
        vec![inputs[0].mapv(|x| x + self.off)]
    }
}

const VECTORIZED: &str = "layout/copy_vec4";
const SCALAR: &str = "layout/copy_scalar";

fn copied(short: bool, off: f64) -> Case {
    Case::forward(Copied { short, off }, &[Arg::normal(&[64], 1)], Tolerance::Elementwise)
}

/// What is right passes; a wrong variant is named and another takes its place; of a wrong plain kernel nothing can.
#[test]
fn a_wrong_kernel_is_found_and_blamed() {
    let Some(gpu) = gpu() else { return };
    let check = |case| block_on(run(&gpu, vec![case], Vec::new(), Extent::Full, &mut |_| {})).unwrap();
    let report = check(copied(false, 0.0));
    assert!(report.is_right() && report.set_aside.is_empty(), "{report:?}");
    let kernels: Vec<&str> = report.kernels.iter().map(|row| row.kernel).collect();
    assert_eq!(kernels, [SCALAR, VECTORIZED]);
    let report = check(copied(true, 0.0));
    assert!(report.wrong.len() == 1 && report.wrong[0].contains("y0[60]"), "{report:?}");
    let blamed: Vec<&String> = report.set_aside.keys().collect();
    assert_eq!(blamed, [VECTORIZED]);
    let report = check(copied(false, 1e-3));
    assert!(!report.is_right() && report.set_aside.is_empty(), "{report:?}");
}

#[test]
fn kernels_that_are_set_aside_are_not_chosen() {
    let set_aside = vec![VECTORIZED.to_owned(), SCALAR.to_owned()];
    for (alternative, aside, chosen) in
        [(0, vec![], VECTORIZED), (0, set_aside.clone(), SCALAR), (1, set_aside, SCALAR)]
    {
        let capabilities = Capabilities { alternative, set_aside: aside, ..Capabilities::assumed() };
        let plans = Prepared::new(copied(false, 0.0)).unwrap().plans(&capabilities).unwrap();
        assert_eq!(plans[0].dispatches[0].kernel.name, chosen);
    }
}

#[test]
fn errors_are_judged_by_their_class() {
    use Tolerance::{Accumulated, Elementwise, Exact};
    let allows = |class: Tolerance, got, wanted, largest| class.error(got, wanted, largest) <= class.bound();
    assert!(allows(Exact, 1.0, 1.0, 1.0) && !allows(Exact, 1.0 + 1e-12, 1.0, 1.0));
    assert!(allows(Elementwise, 100.0003, 100.0, 1.0) && !allows(Elementwise, 100.0005, 100.0, 1000.0));
    assert!(allows(Accumulated, 0.01, 0.0, 1000.0) && !allows(Accumulated, 0.03, 0.0, 1000.0));
    assert!(![Exact, Elementwise, Accumulated].iter().any(|&class| allows(class, f64::NAN, 1.0, 1.0)));
    assert!(allows(Exact, f64::INFINITY, f64::INFINITY, 1.0));
}

/// The cases reach every kernel that some device is given, but for those that are there to measure.
#[test]
fn the_cases_reach_every_kernel() {
    let gpu = Capabilities { int64: true, ..Capabilities::assumed() };
    let with = |class, subgroup, cooperative| Capabilities {
        class,
        subgroup,
        subgroup_operations: true,
        cooperative,
        ..gpu.clone()
    };
    let mut devices = Vec::new();
    for alternative in 0..=crate::shader::MOST_VARIANTS as u32 {
        for device in [
            with(DeviceClass::Cpu, 8, None),
            with(DeviceClass::Discrete, 32, Some(MatrixSize::Sixteen)),
            with(DeviceClass::Integrated, 32, Some(MatrixSize::Eight)),
        ] {
            devices.push(Capabilities { alternative, ..device });
        }
    }
    let mut missing: BTreeSet<&str> = ALL.iter().map(|kernel| kernel.name).collect();
    missing.retain(|name| !name.starts_with("peak/"));
    for case in cases::all().into_iter().filter(|case| case.elements() < 20_000) {
        // Only what runs counts, not what it gives.
        let plans = |capabilities: &Capabilities| -> Vec<Plan> {
            prepared::plans_alone(&case, capabilities).unwrap()
        };
        for plan in devices.iter().flat_map(plans) {
            missing.retain(|name| plan.dispatches.iter().all(|dispatch| dispatch.kernel.name != *name));
        }
    }
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn training_steps_agree_with_the_reference() {
    let Some(gpu) = gpu() else { return };
    for compute in [Compute::F32, Compute::F16] {
        let steps = block_on(steps::steps(&gpu, compute)).unwrap();
        assert_eq!(steps.len(), 6);
        for step in steps {
            println!("{step:?}");
            assert!(step.worst_error > 0.0 && step.worst_error <= step.bound, "{step:?}");
        }
    }
}
