use polymix::check::cases::optimizer;
use polymix::exec::{Executor, Plan, PlanOptions};
use polymix::graph::Graph;
use polymix::ops::Op;
use polymix::ops::optimizer::{Accumulate, AdamW, ClipGradNorm, GrowLossScale, SquaredNorm};
use polymix::shape::Spec;

use crate::check::{Arg, each, gpu, refuses};

const RULE: AdamW = AdamW { beta1: 0.9, beta2: 0.98, eps: 1e-9 };

#[test]
fn squared_norm() {
    each(optimizer::squared_norm());
    refuses(SquaredNorm, &[Spec::u32([3])]);
}

#[test]
fn clip_grad_norm() {
    each(optimizer::clip_grad_norm());
    refuses(ClipGradNorm { clip: 1.0 }, &[Spec::f32([2]), Spec::f32([2])]);
    refuses(ClipGradNorm { clip: 1.0 }, &[Spec::f32([2, 2]), Spec::f32([1])]);
}

#[test]
fn loss_scale() {
    let op = GrowLossScale { growth_interval: 3 };
    each(optimizer::loss_scale());
    refuses(op, &[Spec::f32([2]), Spec::f32([2])]);
    refuses(op, &[Spec::f32([1]), Spec::f32([3])]);
}

#[test]
fn adamw() {
    each(optimizer::adamw());
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
        let gradient_scale = graph.input("gradient_scale", Spec::f32([1]));
        let hyper = graph.input("hyper", Spec::f32([4]));
        let stats = gradient.squared_norm().unwrap().clip_grad_norm(&gradient_scale, 1.0).unwrap();
        let new = p.adamw(RULE, &gradient, [&m, &v], &stats, &hyper).unwrap();
        let outputs = [("stats", &stats), ("p", &new[0]), ("m", &new[1]), ("v", &new[2])];
        let plan = Plan::compile(&graph, &outputs, PlanOptions::default(), gpu.capabilities()).unwrap();
        let mut executor = Executor::new(gpu.clone());
        let mut loaded = pollster::block_on(executor.load(plan)).unwrap();
        let mut poisoned = [0.5_f32; 70];
        poisoned[69] = bad;
        for (name, value) in [("p", 1.0_f32), ("m", 2.0), ("v", 3.0)] {
            executor.write_input(&loaded, name, &[value; 70]).unwrap();
        }
        executor.write_input(&loaded, "g", &poisoned).unwrap();
        executor.write_input(&loaded, "gradient_scale", &[1.0_f32]).unwrap();
        executor.write_input(&loaded, "hyper", &[0.1_f32, 0.1, 0.1, 0.02]).unwrap();
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
    each(optimizer::accumulate());
    refuses(Accumulate, &[Spec::f32([3]), Spec::f32([4])]);
}
