use polymix::autograd::gradients;
use polymix::check::cases::pom::{self, both, mask};
use polymix::exec::{Executor, Plan, PlanOptions, reference};
use polymix::graph::{Graph, Tensor};
use polymix::ops::Op;
use polymix::ops::map::ActivationKind;
use polymix::ops::pom::{PomAggregate, PomSelect};
use polymix::shape::Spec;
use proptest::prelude::*;

use crate::check::{Arg, cases, each, gpu, refuses};

#[test]
fn aggregate_degrees() {
    each(pom::degrees());
}

#[test]
fn aggregate_times() {
    each(pom::times());
}

#[test]
fn aggregate_masks() {
    each(pom::masks());
}

#[test]
fn aggregate_of_nothing() {
    each(pom::nothing());
}

#[test]
fn aggregate_long_means_stay_precise() {
    each(pom::long_means());
}

#[test]
fn aggregate_ignores_frames_of_weight_zero() {
    for causal in [false, true] {
        let mask = mask(6, &[4, 2]);
        let p = Arg::normal(&[2, 6, 4], 8);
        let padded = Arg::f32(&[2, 6, 4], |i| if mask.at(i / 4) == 0.0 { 1e30 } else { p.at(i) });
        let op = PomAggregate::products(2, causal);
        let [clean, dirty] = [&p, &padded].map(|p| op.reference(&[&p.values, &mask.values]).swap_remove(0));
        assert_eq!(clean, dirty);
    }
    each(pom::ignored_frames());
}

#[test]
fn aggregate_powers() {
    each(pom::powers());
}

#[test]
fn aggregate_any_shape() {
    proptest!(cases(6), |(
        batch in 1usize..4,
        time in 1usize..80,
        e in 1usize..20,
        degree in 2usize..4,
        cut in 0usize..80,
    )| {
        let cuts: Vec<usize> = (0..batch).map(|b| (cut * (b + 1)) % (time + 1)).collect();
        each(both(degree, &[batch, time, degree * e], &mask(time, &cuts)));
    });
}

#[test]
fn aggregate_refuses() {
    let mask = Spec::f32([2, 5]);
    let op = |degree| PomAggregate::products(degree, false);
    refuses(op(3), &[Spec::f32([2, 5, 8]), mask.clone()]);
    refuses(op(0), &[Spec::f32([2, 5, 8]), mask.clone()]);
    refuses(op(9), &[Spec::f32([2, 5, 9]), mask.clone()]);
    refuses(op(2), &[Spec::f32([2, 4, 8]), mask.clone()]);
    refuses(op(2), &[Spec::f32([10, 8]), mask.clone()]);
    let powers = |degree| PomAggregate::powers(degree, false, ActivationKind::Relu);
    refuses(powers(9), &[Spec::f32([2, 5, 8]), mask.clone()]);
    refuses(powers(2), &[Spec::f32([2, 5, 0]), mask]);
}

#[test]
fn select() {
    each(pom::select());
}

#[test]
fn select_refuses() {
    refuses(PomSelect, &[Spec::f32([2, 5, 8]), Spec::f32([5, 8])]);
    refuses(PomSelect, &[Spec::f32([2, 5, 8]), Spec::f32([2, 5, 4])]);
    refuses(PomSelect, &[Spec::f32([2, 8]), Spec::f32([2, 8])]);
}

/// A device that binds two of the five utterances at once computes the same bits.
#[test]
fn small_bindings_change_nothing() {
    let Some(gpu) = gpu() else { return };
    let products = PomAggregate::products;
    let powers = |degree, causal| PomAggregate::powers(degree, causal, ActivationKind::Relu);
    for op in [products(2, false), products(2, true), powers(2, false), powers(2, true)] {
        let graph = Graph::new();
        let wide = Spec::f32([5, 33, 64]);
        let [z, dy] = ["z", "dy"].map(|name| graph.input(name, wide.clone()));
        let p = graph.input("p", Spec::f32([5, 33, if op.powers { 32 } else { 64 }]));
        let mask = graph.input("mask", Spec::f32([5, 33]));
        let y = z.pom_select(&p.pom_aggregate(&mask, op).unwrap()).unwrap();
        let grads = gradients(&[(&y, &dy)], &[&p, &z]).unwrap();
        let outputs = [("y", &y), ("dp", grads[0].as_ref().unwrap()), ("dz", grads[1].as_ref().unwrap())];
        let [whole, tiled] = [u64::MAX, 20_000].map(|limit| {
            let mut capabilities = gpu.capabilities().clone();
            capabilities.max_binding = capabilities.max_binding.min(limit);
            let plan = Plan::compile(&graph, &outputs, PlanOptions::default(), &capabilities).unwrap();
            let steps = plan.dispatches.len();
            let mut executor = Executor::new(gpu.clone());
            let mut loaded = pollster::block_on(executor.load(plan)).unwrap();
            for (seed, tensor, name) in [(1, &p, "p"), (2, &z, "z"), (3, &dy, "dy")] {
                let data = Arg::normal(tensor.dims(), seed).values;
                let data: Vec<f32> = data.iter().map(|&x| x as f32).collect();
                executor.write_input(&loaded, name, &data).unwrap();
            }
            let mask: Vec<f32> = (0..5 * 33).map(|i| 0.5 + (i % 3) as f32).collect();
            executor.write_input(&loaded, "mask", &mask).unwrap();
            executor.run(&mut loaded).unwrap();
            let read = |name| pollster::block_on(executor.read::<u32>(&loaded, name)).unwrap();
            (steps, ["y", "dp", "dz"].map(read))
        });
        assert!(tiled.0 > whole.0, "tiles");
        assert_eq!(tiled.1, whole.1);
    }
}

/// A mask with a row for every frame that shows it those up to itself is the running mean.
#[test]
fn a_triangular_mask_is_causal() {
    let (batch, time, degree) = (2, 7, 3);
    let powers = PomAggregate::powers(degree, false, ActivationKind::Gelu);
    for op in [PomAggregate::products(degree, false), powers] {
        let graph = Graph::new();
        let p = graph.input("p", Spec::f32([batch, time, if op.powers { 4 } else { 12 }]));
        let dy = graph.input("dy", Spec::f32([batch, time, 12]));
        let ones = graph.fill([batch, time], 1.0).unwrap();
        let rows = graph.input("rows", Spec::f32([batch, time, time]));
        let mut outputs = Vec::new();
        for (mask, causal) in [(&rows, false), (&ones, true)] {
            let y = p.pom_aggregate(mask, PomAggregate { causal, ..op }).unwrap();
            outputs.push(gradients(&[(&y, &dy)], &[&p]).unwrap().swap_remove(0).unwrap());
            outputs.push(y);
        }
        assert!(p.pom_aggregate(&rows, PomAggregate { causal: true, ..op }).is_err());
        let triangle = Arg::f32(rows.dims(), |i| f64::from(u8::from(i % time <= i / time % time)));
        let mut bindings = reference::Bindings::new();
        for (name, arg) in
            [("p", Arg::normal(p.dims(), 1)), ("dy", Arg::normal(dy.dims(), 2)), ("rows", triangle)]
        {
            bindings.insert(name.to_owned(), arg.values);
        }
        let refs: Vec<&Tensor> = outputs.iter().collect();
        let values = reference::run(&graph, &mut bindings, &refs).unwrap();
        for (pairs, running) in [(&values[0], &values[2]), (&values[1], &values[3])] {
            assert!(pairs.iter().zip(running).all(|(a, b)| (a - b).abs() < 1e-12));
        }
    }
}
