use half::f16 as Half;
use polymix::check::{Prepared, cases::f16};
use polymix::exec::{Compute, Executor, Plan, PlanOptions};
use polymix::gpu::{Capabilities, MatrixSize};
use polymix::graph::Graph;
use polymix::shape::Spec;

use crate::check::{each, gpu};

#[test]
fn stored_in_f16() {
    each(f16::all());
}

/// Inputs and results are copied, so that all else of these plans can be in f16.
#[test]
fn kernels_read_and_write_f16() {
    let plain = Capabilities::assumed();
    let matrices = Capabilities { cooperative: Some(MatrixSize::Sixteen), ..plain.clone() };
    for capabilities in [plain, matrices] {
        for case in f16::all() {
            let what = format!("{case:?}");
            for plan in Prepared::new(case).unwrap().plans(&capabilities).unwrap() {
                let own = plan.dispatches.iter().filter(|one| !one.kernel.name.starts_with("layout/copy"));
                assert!(own.clone().any(|one| one.f16 != 0), "{what}: {}", plan.dump());
            }
        }
    }
}

/// The nearest value, ties to even; beyond the largest an infinity, which a scaled loss's step is skipped for; NaN stays.
#[test]
fn values_are_rounded_as_they_are_stored() {
    let Some(gpu) = gpu() else { return };
    let edges = [0.0, 65504.0, 65519.0, 65519.99, 65520.0, 1e5, 1e30, f32::MAX, f32::INFINITY, f32::NAN];
    let powers = (-26..17).flat_map(|power| {
        let mantissas = [1.0, 1.0 + 1.0 / 2048.0, 1.0 + 3.0 / 2048.0, 1.0 + 1.3 / 2048.0];
        mantissas.map(|mantissa| mantissa * 2.0_f32.powi(power))
    });
    let mut values: Vec<f32> = edges.into_iter().chain(powers).flat_map(|x| [x, -x]).collect();
    values.resize(1024, 1.5);
    let graph = Graph::new();
    let y = graph.input("x", Spec::f32([1024])).copy().unwrap().copy().unwrap();
    let options = PlanOptions { compute: Compute::F16, ..PlanOptions::default() };
    let plan = Plan::compile(&graph, &[("y", &y)], options, gpu.capabilities()).unwrap();
    assert!(plan.dispatches.iter().all(|one| one.f16 != 0), "{}", plan.dump());
    let mut executor = Executor::new(gpu.clone());
    let mut loaded = pollster::block_on(executor.load(plan)).unwrap();
    executor.write_input(&loaded, "x", &values).unwrap();
    executor.run(&mut loaded).unwrap();
    let got: Vec<f32> = pollster::block_on(executor.read(&loaded, "y")).unwrap();
    for (x, got) in values.into_iter().zip(got) {
        let wanted = Half::from_f32(x).to_f32();
        assert!(got == wanted || got.is_nan() && wanted.is_nan(), "{x}: {got}, not {wanted}");
    }
}
