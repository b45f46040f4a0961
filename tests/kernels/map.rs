use polymix::exec::{Executor, Plan, PlanOptions};
use polymix::graph::Graph;
use polymix::ops::map::{Activation, ActivationKind, Affine, Binary, BinaryKind, Glu};
use polymix::shape::Spec;
use proptest::prelude::*;

use crate::check::{Arg, Tolerance, cases, check, gpu, refuses};

const KINDS: [ActivationKind; 8] = [
    ActivationKind::Gelu,
    ActivationKind::Silu,
    ActivationKind::Relu,
    ActivationKind::LeakyRelu,
    ActivationKind::Sigmoid,
    ActivationKind::BoundedLeakyRelu,
    ActivationKind::HardSigmoid,
    ActivationKind::Softplus,
];

/// Values away from the kink at 0.
fn away_from_zero(dims: &[usize]) -> Arg {
    let arg = Arg::normal(dims, 3);
    Arg::f32(dims, |i| {
        let x = arg.values.as_slice().unwrap()[i];
        3.0 * x + 0.01_f64.copysign(x)
    })
}

#[test]
fn activation() {
    for kind in KINDS {
        for size in [1, 7, 63, 64, 65, 256, 1021] {
            check(Activation(kind), &[away_from_zero(&[size])], Tolerance::Elementwise);
        }
        let extreme = [-1e30, -100.0, -20.0, -5.0, 5.0, 20.0, 100.0, 1e30];
        let op = Activation(kind);
        crate::check::check_outputs(op, &[Arg::f32(&[8], |i| extreme[i])], Tolerance::Elementwise, 0);
    }
    refuses(Activation(ActivationKind::Gelu), &[Spec::u32([3])]);
}

/// Steps of a scan are small softplus values, which 1 + e^x would round away.
#[test]
fn softplus_keeps_small_values() {
    let Some(gpu) = gpu() else { return };
    let graph = Graph::new();
    let xs: Vec<f32> = (-120..=40).map(|i| 0.25 * i as f32).collect();
    let y = graph.input("x", Spec::f32([xs.len()])).activation(ActivationKind::Softplus).unwrap();
    let plan = Plan::compile(&graph, &[("y", &y)], PlanOptions::default(), gpu.capabilities()).unwrap();
    let mut executor = Executor::new(gpu.clone());
    let mut loaded = pollster::block_on(executor.load(plan)).unwrap();
    executor.feed(&loaded, "x", &xs).unwrap();
    executor.run(&mut loaded).unwrap();
    let ys: Vec<f32> = pollster::block_on(executor.read(&loaded, "y")).unwrap();
    for (x, y) in xs.into_iter().zip(ys) {
        let wanted = ActivationKind::Softplus.value_and_slope(f64::from(x)).0;
        assert!((f64::from(y) - wanted).abs() <= 2e-6 * wanted, "softplus({x}) = {y}, wanted {wanted}");
    }
}

#[test]
fn grids_of_many_workgroups() {
    check(Affine { scale: 2.0, shift: -1.0 }, &[Arg::normal(&[4 * 701], 1)], Tolerance::Elementwise);
}

#[test]
fn binary_same_shape() {
    proptest!(cases(6), |(rows in 1usize..40, columns in 1usize..40)| {
        for kind in [BinaryKind::Add, BinaryKind::Sub, BinaryKind::Mul, BinaryKind::Div] {
            let dims = [rows, columns];
            check(Binary(kind), &[Arg::normal(&dims, 1), away_from(&dims)], Tolerance::Accumulated);
        }
    });
}

/// Divisors of magnitude 0.5 and more.
fn away_from(dims: &[usize]) -> Arg {
    let arg = Arg::normal(dims, 2);
    Arg::f32(dims, |i| {
        let x = arg.values.as_slice().unwrap()[i];
        x + 0.5_f64.copysign(x)
    })
}

#[test]
fn binary_broadcast() {
    let shapes: [(&[usize], &[usize]); 7] = [
        (&[3, 5, 7], &[7]),
        (&[3, 5, 7], &[3, 1, 7]),
        (&[3, 1, 7], &[3, 5, 1]),
        (&[2, 3, 4, 5], &[3, 1, 5]),
        (&[1], &[4, 3]),
        (&[130, 3], &[130, 1]),
        (&[6], &[1, 1]),
    ];
    for (a, b) in shapes {
        for kind in [BinaryKind::Add, BinaryKind::Sub, BinaryKind::Mul, BinaryKind::Div] {
            check(Binary(kind), &[Arg::normal(a, 1), away_from(b)], Tolerance::Accumulated);
        }
    }
    refuses(Binary(BinaryKind::Add), &[Spec::f32([2, 3]), Spec::f32([2])]);
    refuses(Binary(BinaryKind::Add), &[Spec::f32([2]), Spec::u32([2])]);
}

#[test]
fn glu() {
    for dims in [&[2][..], &[5, 2], &[3, 7, 10], &[2, 5, 64], &[65, 2 * 67], &[1, 2 * 63]] {
        check(Glu, &[Arg::normal(dims, 4)], Tolerance::Elementwise);
    }
    let extreme = [1.0, 2.0, -3.0, 1e30, -100.0, 100.0, 0.0, -30.0];
    crate::check::check_outputs(Glu, &[Arg::f32(&[1, 8], |i| extreme[i])], Tolerance::Elementwise, 0);
    crate::check::check_outputs(Glu, &[Arg::normal(&[0, 8], 4)], Tolerance::Exact, 0);
    refuses(Glu, &[Spec::f32([4, 3])]);
    refuses(Glu, &[Spec::f32([0usize; 0])]);
}
