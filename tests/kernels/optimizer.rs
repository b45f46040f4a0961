use polymix::exec::{Executor, Plan, PlanOptions};
use polymix::graph::Graph;
use polymix::ops::Op;
use polymix::ops::optimizer::{Accumulate, AdamW, GradientScale, GrowLossScale, SquaredNorm};
use polymix::shape::Spec;

use crate::check::{Arg, Tolerance, check_outputs, gpu, refuses};

const RULE: AdamW = AdamW { beta1: 0.9, beta2: 0.98, eps: 1e-9 };

#[test]
fn squared_norm() {
    for size in [0, 1, 3, 4, 5, 255, 256, 257, 4099, 40_003] {
        check_outputs(SquaredNorm, &[Arg::normal(&[size], 4)], Tolerance::Accumulated, 0);
    }
    refuses(SquaredNorm, &[Spec::u32([3])]);
}

#[test]
fn squared_norm_counts_every_element() {
    let size = 4 * 300_000 + 3;
    check_outputs(SquaredNorm, &[Arg::f32(&[size], |_| 1.0)], Tolerance::Exact, 0);
}

#[test]
fn gradient_scale() {
    for (sums, gain, clip) in [
        (&[9.0, 16.0][..], 1.0, 1.0),
        (&[9.0, 16.0], 0.25, 1.0),
        (&[9.0, 16.0], 0.125, 1.0),
        (&[9.0], 1.0, 0.0),
        (&[9.0], 0.5, -1.0),
        (&[0.0, 0.0, 0.0], 1.0, 5.0),
    ] {
        let sums = Arg::f32(&[sums.len()], |i| sums[i]);
        let op = GradientScale { clip };
        check_outputs(op, &[sums, Arg::f32(&[1], |_| gain)], Tolerance::Elementwise, 0);
    }
    let sums = Arg::f32(&[2], |i| [1.0, f64::INFINITY][i]);
    check_outputs(GradientScale { clip: 1.0 }, &[sums, Arg::f32(&[1], |_| 1.0)], Tolerance::Exact, 0);
    refuses(GradientScale { clip: 1.0 }, &[Spec::f32([2]), Spec::f32([2])]);
    refuses(GradientScale { clip: 1.0 }, &[Spec::f32([2, 2]), Spec::f32([1])]);
}

#[test]
fn loss_scale() {
    let op = GrowLossScale { growth_interval: 3 };
    for (state, nonfinite) in [
        ([1024.0, 0.0], 0.0),
        ([1024.0, 1.0], 0.0),
        ([1024.0, 2.0], 0.0),
        ([1024.0, 2.0], 1.0),
        ([1.0, 0.0], 1.0),
        ([16_777_216.0, 2.0], 0.0),
    ] {
        let stats = Arg::f32(&[3], |i| [7.0, 0.5, nonfinite][i]);
        check_outputs(op, &[Arg::f32(&[2], |i| state[i]), stats], Tolerance::Exact, 0);
    }
    refuses(op, &[Spec::f32([2]), Spec::f32([2])]);
    refuses(op, &[Spec::f32([1]), Spec::f32([3])]);
}

fn state(size: usize, scale: f64, nonfinite: f64) -> Vec<Arg> {
    let square = Arg::normal(&[size], 4);
    let v = Arg::f32(&[size], |i| square.values.as_slice().unwrap()[i].powi(2));
    vec![
        Arg::normal(&[size], 1),
        Arg::normal(&[size], 2),
        Arg::normal(&[size], 3),
        v,
        Arg::f32(&[3], |i| [7.0, scale, nonfinite][i]),
        Arg::f32(&[4], |i| [0.01, 0.1, 1.0 - 0.9_f64.powi(3), 1.0 - 0.98_f64.powi(3)][i]),
    ]
}

#[test]
fn adamw() {
    for size in [0, 1, 3, 4, 5, 255, 256, 257, 1021] {
        check_outputs(RULE, &state(size, 0.3, 0.0), Tolerance::Elementwise, 0);
        check_outputs(RULE, &state(size, 0.0, 1.0), Tolerance::Exact, 0);
    }
    let slow = AdamW { beta2: 0.999, ..RULE };
    let mut first = state(64, 1.0, 0.0);
    (first[2], first[3]) = (Arg::f32(&[64], |_| 0.0), Arg::f32(&[64], |_| 0.0));
    first[5] = Arg::f32(&[4], |i| [1.0, 0.0, 0.1, 0.001][i]);
    check_outputs(slow, &first, Tolerance::Elementwise, 0);
    let [n, stats, hyper] = [5, 3, 4].map(|size: usize| Spec::f32([size]));
    refuses(RULE, &[n.clone(), n.clone(), n.clone(), stats.clone(), stats.clone(), hyper.clone()]);
    refuses(RULE, &[n.clone(), n.clone(), n.clone(), n, stats.clone(), stats]);
}

#[test]
fn adamw_first_step_is_the_learning_rate() {
    let args = [5.0, -3.0, 0.0, 0.0].map(|x| Arg::f32(&[1], |_| x).values);
    let stats = Arg::f32(&[3], |i| [3.0, 1.0, 0.0][i]).values;
    let hyper = Arg::f32(&[4], |i| [0.5, 0.0, 0.1, 0.02][i]).values;
    let results = RULE.reference(&[&args[0], &args[1], &args[2], &args[3], &stats, &hyper]);
    assert!((results[0].sum() - 5.5).abs() < 1e-6, "against the gradient by lr: {}", results[0]);
}

#[test]
fn a_gradient_that_is_not_finite_changes_nothing() {
    let Some(gpu) = gpu() else { return };
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX] {
        let graph = Graph::new();
        let [p, gradient, m, v] = ["p", "g", "m", "v"].map(|name| graph.input(name, Spec::f32([70])));
        let gain = graph.input("gain", Spec::f32([1]));
        let hyper = graph.input("hyper", Spec::f32([4]));
        let stats = gradient.squared_norm().unwrap().gradient_scale(&gain, 1.0).unwrap();
        let new = p.adamw(RULE, &gradient, [&m, &v], &stats, &hyper).unwrap();
        let outputs = [("stats", &stats), ("p", &new[0]), ("m", &new[1]), ("v", &new[2])];
        let plan = Plan::compile(&graph, &outputs, PlanOptions::default(), gpu.capabilities()).unwrap();
        let mut executor = Executor::new(gpu.clone());
        let mut loaded = pollster::block_on(executor.load(plan)).unwrap();
        let mut poisoned = [0.5_f32; 70];
        poisoned[69] = bad;
        for (name, value) in [("p", 1.0_f32), ("m", 2.0), ("v", 3.0)] {
            executor.feed(&loaded, name, &[value; 70]).unwrap();
        }
        executor.feed(&loaded, "g", &poisoned).unwrap();
        executor.feed(&loaded, "gain", &[1.0_f32]).unwrap();
        executor.feed(&loaded, "hyper", &[0.1_f32, 0.1, 0.1, 0.02]).unwrap();
        executor.run(&mut loaded).unwrap();
        let read = |name: &str| pollster::block_on(executor.read::<f32>(&loaded, name)).unwrap();
        assert_eq!(read("stats")[1..], [0.0, 1.0], "{bad}");
        for (name, value) in [("p", 1.0), ("m", 2.0), ("v", 3.0)] {
            assert_eq!(read(name), [value; 70], "{bad}: {name}");
        }
    }
}

#[test]
fn accumulate() {
    for size in [0, 1, 3, 4, 5, 256, 257, 1021, 4 * 70_001] {
        let args = [Arg::normal(&[size], 1), Arg::normal(&[size], 2)];
        check_outputs(Accumulate, &args, Tolerance::Elementwise, 0);
    }
    refuses(Accumulate, &[Spec::f32([3]), Spec::f32([4])]);
}
