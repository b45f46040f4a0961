use polymix::autograd::gradients;
use polymix::exec::{Executor, Plan};
use polymix::graph::Graph;
use polymix::ops::Op;
use polymix::ops::pom::{PomAggregate, PomSelect};
use polymix::shape::Spec;
use proptest::prelude::*;

use crate::check::{Arg, Tolerance, cases, check, check_outputs, gpu, refuses};

/// 1 up to each utterance's length, 0 behind it.
fn lengths(time: usize, lengths: &[usize]) -> Arg {
    Arg::f32(&[lengths.len(), time], |i| f64::from(u8::from(i % time < lengths[i / time])))
}

fn ones(batch: usize, time: usize) -> Arg {
    Arg::f32(&[batch, time], |_| 1.0)
}

fn both(degree: usize, p: &[usize], mask: &Arg) {
    for causal in [false, true] {
        let args = [Arg::normal(p, 6), mask.clone()];
        check(PomAggregate { degree, causal }, &args, Tolerance::Accumulated);
    }
}

#[test]
fn aggregate_degrees() {
    for (degree, e) in [(1, 4), (2, 1), (2, 12), (3, 3), (4, 4), (8, 1)] {
        both(degree, &[2, 5, degree * e], &ones(2, 5));
    }
}

#[test]
fn aggregate_times() {
    for time in [1, 2, 31, 32, 33, 130] {
        both(2, &[2, time, 8], &ones(2, time));
        both(3, &[1, time, 15], &ones(1, time));
    }
}

#[test]
fn aggregate_masks() {
    both(2, &[4, 70, 8], &lengths(70, &[0, 1, 33, 70]));
    both(3, &[3, 9, 6], &lengths(9, &[9, 0, 4]));
    let real = Arg::f32(&[2, 70], |i| 0.1 + (i % 7) as f64 * 0.3);
    both(2, &[2, 70, 8], &real);
    let late = Arg::f32(&[1, 70], |i| if i < 40 { 0.0 } else { 0.5 });
    both(2, &[1, 70, 6], &late);
    // Columns of one workgroup that belong to several utterances and chunks.
    both(2, &[3, 65, 74], &lengths(65, &[65, 20, 64]));
}

#[test]
fn aggregate_of_nothing() {
    for causal in [false, true] {
        let op = PomAggregate { degree: 2, causal };
        for dims in [[0, 3, 8], [2, 0, 8]] {
            check_outputs(op, &[Arg::normal(&dims, 1), ones(dims[0], dims[1])], Tolerance::Exact, 0);
        }
    }
}

#[test]
fn aggregate_long_means_stay_precise() {
    let time = 8000;
    for causal in [false, true] {
        let p = Arg::f32(&[1, time, 8], |i| 1.0 + (i % 13) as f64 * 0.01);
        check_outputs(PomAggregate { degree: 2, causal }, &[p, ones(1, time)], Tolerance::Elementwise, 0);
    }
}

#[test]
fn aggregate_ignores_frames_of_weight_zero() {
    for causal in [false, true] {
        let mask = lengths(6, &[4, 2]);
        let p = Arg::normal(&[2, 6, 4], 8);
        let padded = Arg::f32(&[2, 6, 4], |i| {
            if mask.values.as_slice().unwrap()[i / 4] == 0.0 { 1e30 } else { p.values.as_slice().unwrap()[i] }
        });
        let op = PomAggregate { degree: 2, causal };
        let [clean, dirty] = [&p, &padded].map(|p| op.reference(&[&p.values, &mask.values]).swap_remove(0));
        assert_eq!(clean, dirty);
        check_outputs(op, &[padded, mask], Tolerance::Accumulated, 0);
    }
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
        both(degree, &[batch, time, degree * e], &lengths(time, &cuts));
    });
}

#[test]
fn aggregate_refuses() {
    let mask = Spec::f32([2, 5]);
    let op = |degree| PomAggregate { degree, causal: false };
    refuses(op(3), &[Spec::f32([2, 5, 8]), mask.clone()]);
    refuses(op(0), &[Spec::f32([2, 5, 8]), mask.clone()]);
    refuses(op(9), &[Spec::f32([2, 5, 9]), mask.clone()]);
    refuses(op(2), &[Spec::f32([2, 4, 8]), mask.clone()]);
    refuses(op(2), &[Spec::f32([10, 8]), mask]);
}

#[test]
fn select() {
    for [batch, time, n] in [[1, 1, 1], [2, 31, 3], [3, 8, 4], [2, 130, 12], [3, 65, 37]] {
        let z = Arg::normal(&[batch, time, n], 2);
        check(PomSelect, &[z.clone(), Arg::normal(&[batch, n], 3)], Tolerance::Accumulated);
        check(PomSelect, &[z, Arg::normal(&[batch, time, n], 3)], Tolerance::Accumulated);
    }
    check(PomSelect, &[Arg::normal(&[2, 0, 4], 2), Arg::normal(&[2, 4], 3)], Tolerance::Accumulated);
    let extreme = Arg::f32(&[1, 2, 4], |i| [-1e30, -100.0, -20.0, -1.0, 1.0, 20.0, 100.0, 1e30][i]);
    check_outputs(PomSelect, &[extreme, Arg::normal(&[1, 4], 3)], Tolerance::Elementwise, 0);
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
    for causal in [false, true] {
        let graph = Graph::new();
        let wide = Spec::f32([5, 33, 64]);
        let [p, z, dy] = ["p", "z", "dy"].map(|name| graph.input(name, wide.clone()));
        let mask = graph.input("mask", Spec::f32([5, 33]));
        let y = z.pom_select(&p.pom_aggregate(&mask, 2, causal).unwrap()).unwrap();
        let grads = gradients(&[(&y, &dy)], &[&p, &z]).unwrap();
        let outputs = [("y", &y), ("dp", grads[0].as_ref().unwrap()), ("dz", grads[1].as_ref().unwrap())];
        let [whole, tiled] = [u64::MAX, 20_000].map(|limit| {
            let mut capabilities = gpu.capabilities().clone();
            capabilities.max_binding = capabilities.max_binding.min(limit);
            let plan = Plan::compile(&graph, &outputs, &capabilities).unwrap();
            let steps = plan.steps.len();
            let mut executor = Executor::new(gpu.clone());
            let mut loaded = pollster::block_on(executor.load(plan)).unwrap();
            for (seed, name) in (1..).zip(["p", "z", "dy"]) {
                let data: Vec<f32> =
                    Arg::normal(&[5 * 33 * 64], seed).values.iter().map(|&x| x as f32).collect();
                executor.feed(&loaded, name, &data).unwrap();
            }
            let mask: Vec<f32> = (0..5 * 33).map(|i| 0.5 + (i % 3) as f32).collect();
            executor.feed(&loaded, "mask", &mask).unwrap();
            executor.run(&mut loaded).unwrap();
            let read = |name| pollster::block_on(executor.read::<u32>(&loaded, name)).unwrap();
            (steps, ["y", "dp", "dz"].map(read))
        });
        assert!(tiled.0 > whole.0, "tiles");
        assert_eq!(tiled.1, whole.1);
    }
}
