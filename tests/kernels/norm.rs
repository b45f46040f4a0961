use polymix::ops::norm::{LayerNorm, LogSoftmax, Softmax};
use polymix::shape::Spec;
use proptest::prelude::*;

use crate::check::{Arg, Tolerance, cases, check, check_outputs, refuses};

fn layer_norm_args(dims: &[usize]) -> [Arg; 3] {
    let n = dims[dims.len() - 1];
    [Arg::normal(dims, 1), Arg::normal(&[n], 2), Arg::normal(&[n], 3)]
}

#[test]
fn layer_norm() {
    let shapes: [&[usize]; 11] = [
        &[5, 1],
        &[1, 2],
        &[7],
        &[3, 8],
        &[2, 3, 31],
        &[67, 33],
        &[300, 12],
        &[5, 256],
        &[3, 257],
        &[2, 5120],
        &[1, 8192],
    ];
    for dims in shapes {
        check(LayerNorm { eps: 1e-5 }, &layer_norm_args(dims), Tolerance::Accumulated);
    }
    proptest!(cases(6), |(rows in 1usize..90, n in 2usize..80)| {
        check(LayerNorm { eps: 1e-6 }, &layer_norm_args(&[rows, n]), Tolerance::Accumulated);
    });
}

#[test]
fn layer_norm_of_a_mean_far_above_the_deviation() {
    for n in [96, 97] {
        let [x, weight, bias] = layer_norm_args(&[4, n]);
        let far = Arg::f32(&[4, n], |i| 100.0 + x.values.as_slice().unwrap()[i]);
        check(LayerNorm { eps: 1e-5 }, &[far, weight.clone(), bias.clone()], Tolerance::Accumulated);
        let farther = Arg::f32(&[4, n], |i| 1e4 + x.values.as_slice().unwrap()[i]);
        let only_y = LayerNorm { eps: 1e-5 };
        check_outputs(only_y, &[farther, weight.clone(), bias.clone()], Tolerance::Accumulated, 0);
        let constant = Arg::f32(&[4, n], |_| 3.7);
        check_outputs(LayerNorm { eps: 1e-5 }, &[constant, weight, bias], Tolerance::Accumulated, 0);
    }
}

#[test]
fn layer_norm_edges() {
    check_outputs(LayerNorm { eps: 1e-5 }, &layer_norm_args(&[0, 8]), Tolerance::Exact, 0);
    let op = LayerNorm { eps: 1e-5 };
    refuses(op, &[Spec::f32([2, 3]), Spec::f32([2]), Spec::f32([3])]);
    refuses(op, &[Spec::f32([2, 3]), Spec::f32([3]), Spec::f32([1, 3])]);
    refuses(op, &[Spec::f32([2, 0]), Spec::f32([0]), Spec::f32([0])]);
    refuses(op, &[Spec::f32([2, 3]), Spec::f32([3])]);
    refuses(op, &[Spec::u32([2, 3]), Spec::f32([3]), Spec::f32([3])]);
}

#[test]
fn softmax() {
    let shapes: [&[usize]; 9] =
        [&[1], &[5, 1], &[3, 4], &[2, 3, 29], &[17, 33], &[70, 64], &[3, 257], &[2, 1024], &[2, 8191]];
    for dims in shapes {
        check(Softmax, &[Arg::normal(dims, 4)], Tolerance::Accumulated);
        check(LogSoftmax, &[Arg::normal(dims, 4)], Tolerance::Accumulated);
    }
    proptest!(cases(6), |(rows in 1usize..90, n in 1usize..80)| {
        check(Softmax, &[Arg::normal(&[rows, n], 5)], Tolerance::Accumulated);
        check(LogSoftmax, &[Arg::normal(&[rows, n], 5)], Tolerance::Accumulated);
    });
}

#[test]
fn softmax_edges() {
    let extreme = [1e30, -1e30, 0.0, 90.0, -100.0, 88.0, 100.0, -3e4, 3.0, 3.0, 3.0, 3.0];
    let args = [Arg::f32(&[3, 4], |i| extreme[i])];
    check_outputs(Softmax, &args, Tolerance::Elementwise, 0);
    check_outputs(LogSoftmax, &args, Tolerance::Elementwise, 0);
    check_outputs(Softmax, &[Arg::normal(&[0, 4], 1)], Tolerance::Exact, 0);
    check_outputs(Softmax, &[Arg::normal(&[701, 1], 1)], Tolerance::Exact, 0);
    refuses(Softmax, &[Spec::f32([3, 0])]);
    refuses(LogSoftmax, &[Spec::u32([3])]);
}
