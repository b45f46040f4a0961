use polymix::check::cases::norm;
use polymix::ops::norm::{AddedLayerNorm, LayerNorm, LayerNormBackward, LogSoftmax, Softmax};
use polymix::shape::Spec;
use proptest::prelude::*;

use crate::check::{Arg, Tolerance, cases, check, each, refuses};

#[test]
fn layer_norm() {
    each(norm::layer_norm());
    proptest!(cases(6), |(rows in 1usize..90, n in 2usize..80)| {
        check(LayerNorm { eps: 1e-6 }, &norm::layer_norm_args(&[rows, n]), Tolerance::Accumulated);
    });
}

#[test]
fn layer_norm_with_an_addend() {
    each(norm::with_addends());
    let [x, n, rows] = [Spec::f32([2, 3]), Spec::f32([3]), Spec::f32([2])];
    let op = AddedLayerNorm(LayerNorm { eps: 1e-5 });
    refuses(op, &[x.clone(), n.clone(), n.clone(), n.clone()]);
    refuses(op, &[x.clone(), n.clone(), n.clone()]);
    let backward = |has_addend, dy: &Spec, addend: &[Spec]| {
        let operands = [x.clone(), n.clone(), rows.clone(), rows.clone(), dy.clone()];
        refuses(LayerNormBackward { has_addend }, &[&operands[..], addend].concat());
    };
    backward(false, &n, &[]);
    backward(true, &x, &[]);
    backward(true, &x, std::slice::from_ref(&rows));
    backward(false, &x, std::slice::from_ref(&x));
}

#[test]
fn layer_norm_of_a_mean_far_above_the_deviation() {
    each(norm::far_means());
}

#[test]
fn layer_norm_edges() {
    let op = LayerNorm { eps: 1e-5 };
    refuses(op, &[Spec::f32([2, 3]), Spec::f32([2]), Spec::f32([3])]);
    refuses(op, &[Spec::f32([2, 3]), Spec::f32([3]), Spec::f32([1, 3])]);
    refuses(op, &[Spec::f32([2, 0]), Spec::f32([0]), Spec::f32([0])]);
    refuses(op, &[Spec::f32([2, 3]), Spec::f32([3])]);
    refuses(op, &[Spec::u32([2, 3]), Spec::f32([3]), Spec::f32([3])]);
}

#[test]
fn softmax() {
    each(norm::softmax());
    proptest!(cases(6), |(rows in 1usize..90, n in 1usize..80)| {
        check(Softmax, &[Arg::normal(&[rows, n], 5)], Tolerance::Accumulated);
        check(LogSoftmax, &[Arg::normal(&[rows, n], 5)], Tolerance::Accumulated);
    });
}

#[test]
fn softmax_edges() {
    each(norm::softmax_edges());
    refuses(Softmax, &[Spec::f32([3, 0])]);
    refuses(LogSoftmax, &[Spec::u32([3])]);
}
