//! Cases with tensors stored in f16: one or two of each kernel that reads or writes them.

use super::{Arg, Case, Tolerance, conv, map, matmul, norm, pom, random};
use crate::ops::conv::{Conv2d, DepthwiseConv1d};
use crate::ops::finish::{Finish, Other, Role};
use crate::ops::layout::{GatherRows, ScatterRows};
use crate::ops::map::{Activation, ActivationKind, Affine, Glu};
use crate::ops::matmul::{MatMul, PlannedMatMul};
use crate::ops::norm::LayerNorm;
use crate::ops::pom::{PomAggregate, PomSelect};
use crate::ops::random::Dropout;
use crate::ops::reduce::Sum;

/// All of them.
pub fn all() -> Vec<Case> {
    [matmuls(), norms(), elements(), mixers()].concat().into_iter().map(Case::in_f16).collect()
}

/// Factors stored in either way, few tiles and many; with all that may follow; gradients of weights.
fn matmuls() -> Vec<Case> {
    let by_rows = MatMul { transpose_b: true, ..MatMul::PLAIN };
    let mut cases = vec![
        matmul::matmul(0, [132, 68, 36], by_rows),
        matmul::matmul(0, [68, 132, 20], MatMul::PLAIN),
        matmul::matmul(129, [8, 12, 20], by_rows),
    ];
    let finish = Finish {
        activation: Some(ActivationKind::Gelu),
        dropout: Some(Dropout { probability: 0.3, stream: 11, first: 0 }),
        scale: 0.5,
        lengths: None,
        other: None,
    };
    let args = [Arg::normal(&[3, 20, 12], 1), Arg::normal(&[36, 12], 2), Arg::normal(&[36], 3)];
    let more = [random::rng([3, 17, 1]), Arg::normal(&[3, 20, 36], 4)];
    for role in [Role::Addend, Role::Derivative(ActivationKind::Gelu)] {
        let finish = Finish { other: Some(Other { operand: 4, role }), ..finish };
        let op = PlannedMatMul { matmul: by_rows, f16_inputs: true, finish };
        cases.push(Case::forward(op, &[&args[..], &more].concat(), Tolerance::Accumulated));
    }
    cases.extend(matmul::rounded_weight_gradients([600, 8, 4]));
    cases
}

fn norms() -> Vec<Case> {
    let args = norm::layer_norm_args(&[67, 64]);
    let alone = Case::new(LayerNorm { eps: 1e-5 }, &args, Tolerance::Accumulated);
    [&[alone][..], &norm::with_addend([300, 12])].concat()
}

/// What is done element by element, and what moves elements.
fn elements() -> Vec<Case> {
    let normal = |dims: &[usize]| Arg::normal(dims, 1);
    let new = |case: Case| vec![case];
    let rows = Arg::u32(&[40], |i| (i as u32 * 7) % 40);
    let dropout = Dropout { probability: 0.1, stream: 5, first: 0 };
    [
        map::chain_of(1024),
        new(Case::new(Activation(ActivationKind::Silu), &[normal(&[33, 64])], Tolerance::Accumulated)),
        new(Case::new(Affine { scale: -2.0, shift: 0.5 }, &[normal(&[33, 64])], Tolerance::Accumulated)),
        // Their derivatives are several of the same kernels, with values in between that are rounded too.
        map::binary(&[33, 64], &[33, 64]).into_iter().map(without_derivative).collect(),
        new(Case::new(Glu, &[normal(&[33, 128])], Tolerance::Accumulated)),
        new(Case::new(dropout, &[normal(&[33, 64]), random::rng([1, 2, 3])], Tolerance::Accumulated)),
        new(Case::new(Sum { first: 0, last: 1 }, &[normal(&[65, 32])], Tolerance::Accumulated)),
        new(Case::new(GatherRows, &[normal(&[40, 32]), rows.clone()], Tolerance::Accumulated)),
        new(Case::new(ScatterRows { rows: 40 }, &[normal(&[40, 32]), rows], Tolerance::Accumulated)),
    ]
    .concat()
}

fn without_derivative(mut case: Case) -> Case {
    case.differentiable = 0;
    case
}

fn mixers() -> Vec<Case> {
    let z = Arg::normal(&[2, 130, 12], 2);
    let p = [Arg::normal(&[3, 33, 24], 6), pom::mask(33, &[33, 0, 7])];
    let conv2d = |sizes| Case::new(Conv2d, &conv::conv2d_args(sizes), Tolerance::Accumulated);
    let depthwise = conv::depthwise_args([67, 12, 18], &[67, 17, 16]);
    vec![
        Case::new(PomSelect, &[z, Arg::normal(&[2, 12], 3)], Tolerance::Accumulated),
        Case::new(PomAggregate::products(2, false), &p, Tolerance::Accumulated),
        conv2d([3, 16, 33, 1, 64]),
        conv2d([2, 15, 20, 8, 16]),
        Case::new(DepthwiseConv1d { left: 8 }, &depthwise, Tolerance::Accumulated),
    ]
}
