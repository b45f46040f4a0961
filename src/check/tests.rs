use std::collections::BTreeSet;
use std::sync::Arc;

use pollster::block_on;

use super::*;
use crate::error::{Error, Result};
use crate::exec::{Compute, Operand, Plan, Recorder};
use crate::gpu::{Capabilities, DeviceClass, Gpu, MatrixSize, Selection};
use crate::ops::matmul::MatMul;
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

/// A copy, by a "driver" whose kernel `short` leaves out the last four, and by a definition that adds `off`.
#[derive(Debug, Clone)]
struct Copied {
    short: &'static str,
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
        if choice.variant.kernel.name == self.short {
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

fn copied(short: &'static str, off: f64) -> Case {
    copied_of(64, short, off)
}

fn copied_of(elements: usize, short: &'static str, off: f64) -> Case {
    Case::forward(Copied { short, off }, &[Arg::normal(&[elements], 1)], Tolerance::Elementwise)
}

/// What is right passes; a wrong variant is named and another takes its place; of a wrong plain kernel nothing can.
#[test]
fn a_wrong_kernel_is_found_and_blamed() {
    let Some(gpu) = gpu() else { return };
    let check = |case| block_on(run(&gpu, vec![case], Vec::new(), Extent::Full, &mut |_| {})).unwrap();
    let report = check(copied("", 0.0));
    assert!(report.is_right() && report.set_aside.is_empty(), "{report:?}");
    let kernels: Vec<&str> = report.kernels.iter().map(|row| row.kernel).collect();
    assert_eq!(kernels, [SCALAR, VECTORIZED]);
    let report = check(copied(VECTORIZED, 0.0));
    assert!(report.wrong.len() == 1 && report.wrong[0].contains("y0[60]"), "{report:?}");
    let blamed: Vec<&String> = report.set_aside.keys().collect();
    assert_eq!(blamed, [VECTORIZED]);
    let report = check(copied("", 1e-3));
    assert!(!report.is_right() && report.set_aside.is_empty(), "{report:?}");
}

#[test]
fn kernels_that_are_set_aside_are_not_chosen() {
    let set_aside = vec![VECTORIZED.to_owned(), SCALAR.to_owned()];
    for (alternative, aside, chosen) in
        [(0, vec![], VECTORIZED), (0, set_aside.clone(), SCALAR), (1, set_aside, SCALAR)]
    {
        let capabilities = Capabilities { alternative, set_aside: aside, ..Capabilities::assumed() };
        let plans = Prepared::new(copied("", 0.0)).unwrap().plans(&capabilities).unwrap();
        assert_eq!(plans[0].dispatches[0].kernel.name, chosen);
    }
}

#[test]
fn kernels_that_are_preferred_are_chosen_where_their_needs_hold() {
    let chosen = |elements, preferred: [(&str, &str); 1], aside: &[&str]| {
        let preferred = preferred.map(|(class, kernel)| (class.to_owned(), kernel.to_owned())).into();
        let set_aside = aside.iter().map(|&name| name.to_owned()).collect();
        let capabilities = Capabilities { preferred, set_aside, ..Capabilities::assumed() };
        let plans = Prepared::new(copied_of(elements, "", 0.0)).unwrap().plans(&capabilities).unwrap();
        plans[0].dispatches[0].kernel.name
    };
    assert_eq!(chosen(64, [(VECTORIZED, SCALAR)], &[]), SCALAR);
    assert_eq!(chosen(64, [(VECTORIZED, SCALAR)], &[SCALAR]), VECTORIZED, "it is wrong here");
    assert_eq!(chosen(64, [(VECTORIZED, "layout/copy_removed")], &[]), VECTORIZED);
    assert_eq!(chosen(63, [(SCALAR, VECTORIZED)], &[]), SCALAR, "63 are no vectors");
    assert_eq!(chosen(64, [(SCALAR, VECTORIZED)], &[VECTORIZED]), SCALAR);
}

/// Which matmuls count as large, and that what is measured of these says nothing of others.
#[test]
fn matmuls_are_preferred_by_size() {
    let tiled = "matmul/matmul_tiled";
    let kernel = |sizes, preferred: &[(&str, &str)]| {
        let preferred =
            preferred.iter().map(|&(class, kernel)| (class.to_owned(), kernel.to_owned())).collect();
        let capabilities = Capabilities { preferred, ..Capabilities::assumed() };
        let case = cases::matmul::matmul(0, sizes, MatMul::PLAIN);
        let plans = prepared::plans_alone(&case, &capabilities).unwrap();
        let first = &plans[0].dispatches[0];
        (first.class.to_string(), first.kernel.name)
    };
    let (small, class) = ([8, 8, 8], format!("{tiled}, small"));
    assert_eq!(kernel(small, &[]), (class.clone(), tiled));
    let large = "matmul/matmul_tiled_large_vec4";
    assert_eq!(
        kernel(small, &[(&class, large)]),
        (class.clone(), large),
        "so few tiles are a guess of the rule's"
    );
    assert_eq!(kernel(small, &[(&format!("{tiled}, large"), large)]).1, tiled);
    assert_eq!(kernel([1024, 1024, 4], &[(&class, large)]), (format!("{tiled}, large"), tiled));
    // The kernels of other classes of devices are none of its own, whatever a file says.
    assert_eq!(kernel(small, &[(&class, "matmul/matmul_register_vec4")]).1, tiled);
}

#[test]
fn only_right_kernels_are_measured_and_at_most_four() {
    let Some(gpu) = gpu() else { return };
    if !gpu.capabilities().timestamps {
        return;
    }
    let copies = |wrong| {
        let subject = || vec![copied("", 0.0), copied_of(36, "", 0.0)];
        let of = |short| vec![copied_of(36, short, 0.0), copied_of(68, short, 0.0)];
        cases::Subject { timed: subject(), checked: of(wrong) }
    };
    let matmuls = |_| {
        let forward = |sizes| {
            let args = cases::matmul::matmul(0, sizes, MatMul::PLAIN).args;
            Case::forward(MatMul::PLAIN, &args, Tolerance::Accumulated)
        };
        let all = || [[20, 36, 12], [64, 64, 64]].map(forward).to_vec();
        cases::Subject { timed: all(), checked: all() }
    };
    let measure = |subject: cases::Make<'_>, seconds| {
        block_on(tune(&gpu, &[("subject", subject)], seconds, &mut |_| {})).unwrap()
    };
    let right = measure(&|_| copies(""), 60.0);
    let kernels = |tuning: &Tuning| -> Vec<Vec<&str>> {
        tuning.measured.iter().map(|one| one.times.iter().map(|(kernel, _)| *kernel).collect()).collect()
    };
    assert_eq!(kernels(&right), [[VECTORIZED, SCALAR]], "{right:?}");
    let wrong = measure(&|_| copies(SCALAR), 60.0);
    assert!(wrong.wrong.len() == 1 && wrong.wrong[0].starts_with(SCALAR), "{wrong:?}");
    assert!(wrong.changed() == 0 && kernels(&wrong).iter().all(Vec::is_empty), "{wrong:?}");
    let several = measure(&matmuls, 60.0);
    assert!(several.wrong.is_empty() && several.left.is_empty(), "{several:?}");
    assert!(kernels(&several).iter().all(|kernels| (2..=4).contains(&kernels.len())), "{several:?}");
    let none = measure(&matmuls, 0.0);
    assert!(none.measured.is_empty() && none.left == ["subject"], "{none:?}");
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
