use polymix::check::cases::matmul::{self, stored};
use polymix::ops::finish::{Finish, Other, Role};
use polymix::ops::matmul::{MatMul, PlannedMatMul, WeightGradient};
use polymix::ops::norm::LayerNorm;
use polymix::ops::random::Dropout;
use polymix::shape::Spec;
use proptest::prelude::*;

use crate::check::{Arg, Tolerance, cases, check, each, refuses};

#[test]
fn every_form_with_any_size() {
    proptest!(cases(10), |(m in 1usize..70, n in 1usize..70, k in 1usize..70, flags in 0u8..8)| {
        let [transpose_a, transpose_b, has_bias] = [1, 2, 4].map(|bit| flags & bit > 0);
        let op = MatMul { transpose_a, transpose_b, alpha: 0.5 };
        let mut args = vec![
            Arg::normal(&stored(m, k, transpose_a), 1),
            Arg::normal(&stored(k, n, transpose_b), 2),
        ];
        if has_bias {
            args.push(Arg::normal(&[n], 3));
        }
        check(op, &args, Tolerance::Accumulated);
    });
}

#[test]
fn multiples_of_four_and_edges_of_tiles() {
    each(matmul::multiples_of_four_and_edges_of_tiles());
}

#[test]
fn as_many_tiles_as_fill_a_gpu() {
    each(matmul::many_tiles());
}

#[test]
fn long_inner_dimension() {
    each(matmul::long_sums());
}

#[test]
fn batches_and_shared_factors() {
    let bias = Arg::normal(&[6], 3);
    let nt = MatMul { transpose_b: true, ..MatMul::PLAIN };
    check(nt, &[Arg::normal(&[3, 5, 7], 1), Arg::normal(&[6, 7], 2), bias], Tolerance::Accumulated);
    check(MatMul::PLAIN, &[Arg::normal(&[3, 5, 8], 1), Arg::normal(&[3, 8, 4], 2)], Tolerance::Accumulated);
    let tn = MatMul { transpose_a: true, ..MatMul::PLAIN };
    check(tn, &[Arg::normal(&[2, 3, 8, 4], 1), Arg::normal(&[2, 3, 8, 12], 2)], Tolerance::Accumulated);
    refuses(MatMul::PLAIN, &[Spec::f32([2, 3]), Spec::f32([2, 3])]);
    refuses(MatMul::PLAIN, &[Spec::f32([2, 5, 3]), Spec::f32([4, 3, 5])]);
    refuses(nt, &[Spec::f32([2, 3]), Spec::f32([4, 3]), Spec::f32([3])]);
    refuses(MatMul::PLAIN, &[Spec::f32([3]), Spec::f32([3, 3])]);
}

#[test]
fn gradients_of_a_linear_layer() {
    each(matmul::weight_gradients());
    let op = WeightGradient { alpha: 1.0, f16_inputs: false, norm: None };
    refuses(op, &[Spec::f32([3, 4]), Spec::f32([2, 4])]);
    refuses(op, &[Spec::f32([1, 3, 4]), Spec::f32([1, 3, 4])]);
    let norm = Some(LayerNorm { eps: 1e-5 });
    let [rows, n] = [Spec::f32([3]), Spec::f32([4])];
    let operands = [Spec::f32([3, 2]), Spec::f32([3, 4]), n.clone(), n.clone(), rows.clone()];
    refuses(WeightGradient { norm, ..op }, &operands);
    refuses(WeightGradient { norm, ..op }, &[&operands[..], &[n]].concat());
    refuses(op, &[Spec::f32([3, 4]), Spec::u32([3, 4])]);
}

#[test]
fn operands_rounded_to_f16() {
    each(matmul::operands_f16());
}

#[test]
fn f16_operands_of_every_size_are_the_nearest() {
    each(matmul::roundings());
}

#[test]
fn what_follows_the_product() {
    each(matmul::epilogues());
}

#[test]
fn operands_of_what_follows_that_do_not_fit() {
    let matmul = MatMul { transpose_b: true, ..MatMul::PLAIN };
    let dropout = Some(Dropout { probability: 0.3, stream: 11, first: 0 });
    let other = Some(Other { operand: 4, role: Role::Addend });
    let finish = Finish { dropout, scale: 2.0, other, ..Finish::NONE };
    let op = PlannedMatMul { finish, ..matmul.into() };
    let shapes = [Spec::f32([3, 5, 8]), Spec::f32([12, 8]), Spec::f32([12]), Spec::u32([3])];
    refuses(op, &[&shapes[..], &[Spec::f32([5, 12])]].concat());
    refuses(op, &shapes);
}
