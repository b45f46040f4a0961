use polymix::check::cases::map;
use polymix::exec::{Executor, Plan, PlanOptions};
use polymix::graph::Graph;
use polymix::ops::finish::{Finish, Other, Role};
use polymix::ops::map::{Activation, ActivationKind, Binary, BinaryKind, Chain, Glu, Root};
use polymix::ops::random::Dropout;
use polymix::shape::Spec;
use proptest::prelude::*;

use crate::check::{cases, each, gpu, refuses};

#[test]
fn activation() {
    each(map::activation());
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
    executor.write_input(&loaded, "x", &xs).unwrap();
    executor.run(&mut loaded).unwrap();
    let ys: Vec<f32> = pollster::block_on(executor.read(&loaded, "y")).unwrap();
    for (x, y) in xs.into_iter().zip(ys) {
        let wanted = ActivationKind::Softplus.value_and_derivative(f64::from(x)).0;
        assert!((f64::from(y) - wanted).abs() <= 2e-6 * wanted, "softplus({x}) = {y}, wanted {wanted}");
    }
}

#[test]
fn grids_of_many_workgroups() {
    each(map::affine());
}

#[test]
fn binary_same_shape() {
    proptest!(cases(6), |(rows in 1usize..40, columns in 1usize..40)| {
        each(map::binary(&[rows, columns], &[rows, columns]));
    });
}

#[test]
fn binary_broadcast() {
    each(map::binary_broadcast());
    refuses(Binary(BinaryKind::Add), &[Spec::f32([2, 3]), Spec::f32([2])]);
    refuses(Binary(BinaryKind::Add), &[Spec::f32([2]), Spec::u32([2])]);
}

#[test]
fn chain() {
    each(map::chain());
    let with_other = Finish { other: Some(Other { operand: 1, role: Role::Addend }), ..Finish::NONE };
    refuses(Chain(with_other), &[Spec::f32([4])]);
    refuses(Chain(with_other), &[Spec::f32([4]), Spec::f32([5])]);
    let masked = Chain(Finish { lengths: Some(1), ..Finish::NONE });
    refuses(masked, &[Spec::f32([4])]);
    refuses(masked, &[Spec::f32([4, 3]), Spec::u32([4])]);
    refuses(masked, &[Spec::f32([4, 3, 2]), Spec::u32([3])]);
    let dropout = Some(Dropout { probability: 0.5, stream: 1, first: 0 });
    refuses(Chain(Finish { dropout, ..Finish::NONE }), &[Spec::f32([4]), Spec::f32([3])]);
}

#[test]
fn glu() {
    each(map::glu());
    refuses(Glu, &[Spec::f32([4, 3])]);
    refuses(Glu, &[Spec::f32([0usize; 0])]);
}

#[test]
fn root() {
    each(map::root());
    refuses(Root { eps: 0.25 }, &[Spec::u32([3])]);
}
