use polymix::check::cases::norm;
use polymix::ops::norm::{LayerNorm, LogSoftmax, Softmax};
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
