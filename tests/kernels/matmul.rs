use polymix::ops::map::ActivationKind;
use polymix::ops::matmul::{MatMul, PlannedMatMul};
use polymix::ops::random::Dropout;
use polymix::shape::Spec;
use proptest::prelude::*;

use crate::check::{Arg, Tolerance, cases, check, check_outputs, refuses};

fn stored(rows: usize, columns: usize, transposed: bool) -> [usize; 2] {
    if transposed { [columns, rows] } else { [rows, columns] }
}

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
    for (m, n, k) in [(1, 1, 1), (16, 16, 16), (64, 64, 64), (20, 36, 12), (65, 128, 132), (17, 4, 260)] {
        for (transpose_a, transpose_b) in [(false, false), (false, true), (true, false), (true, true)] {
            let op = MatMul { transpose_a, transpose_b, alpha: 1.0 };
            let args =
                [Arg::normal(&stored(m, k, transpose_a), 1), Arg::normal(&stored(k, n, transpose_b), 2)];
            check(op, &args, Tolerance::Accumulated);
        }
    }
}

#[test]
fn as_many_tiles_as_fill_a_gpu() {
    let product = |[batch, m, n, k]: [usize; 4], transpose_a, transpose_b| {
        let op = MatMul { transpose_a, transpose_b, alpha: 1.0 };
        let operand = |[rows, columns]: [usize; 2], seed| Arg::normal(&[batch, rows, columns], seed);
        let args = [operand(stored(m, k, transpose_a), 1), operand(stored(k, n, transpose_b), 2)];
        check(op, &args, Tolerance::Accumulated);
    };
    for (transpose_a, transpose_b) in [(false, false), (false, true), (true, false), (true, true)] {
        product([129, 6, 7, 9], transpose_a, transpose_b);
        product([129, 8, 12, 20], transpose_a, transpose_b);
    }
    product([33, 130, 132, 12], false, true);
}

#[test]
fn long_inner_dimension() {
    let op = MatMul { transpose_a: true, transpose_b: false, alpha: 1.0 };
    check(op, &[Arg::normal(&[1030, 16], 1), Arg::normal(&[1030, 12], 2)], Tolerance::Accumulated);
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
fn operands_rounded_to_halves() {
    let in_f16 = |product: MatMul| PlannedMatMul { f16_inputs: true, ..product.into() };
    let product = |[m, n, k]: [usize; 3], (transpose_a, transpose_b)| {
        let op = in_f16(MatMul { transpose_a, transpose_b, alpha: 0.5 });
        let (a, b) = (stored(m, k, transpose_a), stored(k, n, transpose_b));
        let args = [Arg::normal(&a, 1), Arg::normal(&b, 2), Arg::normal(&[n], 3)];
        check_outputs(op, &args, Tolerance::Accumulated, 0);
    };
    // With edges of tiles of 64 and 128.
    for form in [(false, false), (false, true), (true, false), (true, true)] {
        for sizes in [[4, 8, 4], [132, 136, 68], [64, 132, 36], [300, 4, 132]] {
            product(sizes, form);
        }
    }
    // Sizes that only scalar kernels take.
    product([33, 29, 17], (false, true));
    product([65, 132, 36], (true, false));
    let args = [Arg::normal(&[3, 20, 8], 1), Arg::normal(&[3, 8, 12], 2)];
    check_outputs(in_f16(MatMul::PLAIN), &args, Tolerance::Accumulated, 0);
    let args = [Arg::normal(&[1032, 16], 1), Arg::normal(&[1032, 12], 2)];
    let op = in_f16(MatMul { transpose_a: true, ..MatMul::PLAIN });
    check_outputs(op, &args, Tolerance::Accumulated, 0);
}

#[test]
fn halves_of_every_size_are_the_nearest() {
    // Powers of 2 with a mantissa between two halves, subnormal ones and ties among them; times 1.
    let value = |i: usize| {
        let mantissa = [1.0, 1.0 + 1.0 / 2048.0, 1.0 + 3.0 / 2048.0, 1.0 + 1.3 / 2048.0][i % 4];
        let sign = if i.is_multiple_of(3) { -1.0 } else { 1.0 };
        sign * mantissa * 2.0_f64.powi(i as i32 / 4 - 26)
    };
    for rows in [160, 161] {
        let op = PlannedMatMul { f16_inputs: true, ..MatMul::PLAIN.into() };
        let args = [
            Arg::f32(&[rows, 4], |i| if i.is_multiple_of(4) { value(i / 4) } else { 0.0 }),
            Arg::f32(&[4, 4], |_| 1.0),
        ];
        check_outputs(op, &args, Tolerance::Exact, 0);
    }
}

#[test]
fn an_activation_behind_the_product() {
    let product = MatMul { transpose_b: true, ..MatMul::PLAIN };
    let with = |kind| PlannedMatMul { activation: Some(kind), ..product.into() };
    for ([m, n, k], kind) in [([20, 36, 12], ActivationKind::Gelu), ([17, 13, 9], ActivationKind::Silu)] {
        let args = [Arg::normal(&[m, k], 1), Arg::normal(&[n, k], 2), Arg::normal(&[n], 3)];
        check_outputs(with(kind), &args, Tolerance::Accumulated, 0);
    }
    // As many tiles as fill a GPU.
    for ([m, n, k], kind) in [([8, 12, 20], ActivationKind::Sigmoid), ([6, 7, 9], ActivationKind::LeakyRelu)]
    {
        let args = [Arg::normal(&[129, m, k], 1), Arg::normal(&[129, n, k], 2)];
        check_outputs(with(kind), &args, Tolerance::Accumulated, 0);
    }
    let op = PlannedMatMul { f16_inputs: true, ..with(ActivationKind::Gelu) };
    check_outputs(op, &[Arg::normal(&[20, 12], 1), Arg::normal(&[36, 12], 2)], Tolerance::Accumulated, 0);
    // A sum that is made of parts otherwise.
    let op = PlannedMatMul { activation: Some(ActivationKind::Gelu), ..MatMul::PLAIN.into() };
    check_outputs(op, &[Arg::normal(&[16, 1030], 1), Arg::normal(&[1030, 12], 2)], Tolerance::Accumulated, 0);
}

#[test]
fn dropout_a_scale_and_an_addend_behind_the_product() {
    let rng = || Arg::u32(&[3], |i| [3, 17, 1][i]);
    let like = |[batch, m, n]: [usize; 3]| Arg::normal(&[batch, m, n], 9);
    let dropout = |first| Some(Dropout { probability: 0.3, stream: 11, first });
    let product = MatMul { transpose_b: true, alpha: 0.5, ..MatMul::PLAIN };
    let plain = PlannedMatMul { scale: -0.5, ..product.into() };
    let all = PlannedMatMul {
        activation: Some(ActivationKind::Gelu),
        dropout: dropout(0),
        addend: Some(3),
        ..plain
    };
    let factors =
        |[batch, m, n, k]: [usize; 4]| [Arg::normal(&[batch, m, k], 1), Arg::normal(&[batch, n, k], 2)];
    let check = |op, sizes: [usize; 4], more: &[Arg]| {
        check_outputs(op, &[&factors(sizes)[..], more].concat(), Tolerance::Accumulated, 0);
    };
    // Aligned and not, tiles of 64 and 128.
    for sizes in [[1, 20, 36, 12], [2, 17, 13, 9], [129, 8, 12, 20], [129, 6, 7, 9]] {
        let [batch, m, n, _] = sizes;
        check(all, sizes, &[rng(), like([batch, m, n])]);
    }
    let sizes = [1, 20, 36, 12];
    check(PlannedMatMul { addend: Some(2), ..plain }, sizes, &[like([1, 20, 36])]);
    check(PlannedMatMul { dropout: dropout(8), ..plain }, sizes, &[rng()]);
    check(PlannedMatMul { f16_inputs: true, ..all }, sizes, &[rng(), like([1, 20, 36])]);
    // With a bias, of one product for all of the batch.
    let product = MatMul { transpose_b: true, ..MatMul::PLAIN };
    let op = PlannedMatMul { dropout: dropout(0), scale: 2.0, addend: Some(4), ..product.into() };
    let args = [Arg::normal(&[3, 5, 8], 1), Arg::normal(&[12, 8], 2), Arg::normal(&[12], 3), rng()];
    check_outputs(op, &[&args[..], &[like([3, 5, 12])]].concat(), Tolerance::Accumulated, 0);
    let shapes = [Spec::f32([3, 5, 8]), Spec::f32([12, 8]), Spec::f32([12]), Spec::u32([3])];
    refuses(op, &[&shapes[..], &[Spec::f32([5, 12])]].concat());
    refuses(op, &shapes);
}
