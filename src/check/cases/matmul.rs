//! Cases of matmuls.

use super::{Arg, Case, Tolerance};
use crate::ops::Op;
use crate::ops::finish::{Finish, Other, Role};
use crate::ops::map::ActivationKind;
use crate::ops::matmul::{MatMul, PlannedMatMul, WeightGradient};
use crate::ops::norm::LayerNorm;
use crate::ops::random::Dropout;

const FORMS: [(bool, bool); 4] = [(false, false), (false, true), (true, false), (true, true)];

/// All of them.
pub fn all() -> Vec<Case> {
    [
        multiples_of_four_and_edges_of_tiles(),
        many_tiles(),
        long_sums(),
        weight_gradients(),
        operands_f16(),
        roundings(),
        epilogues(),
    ]
    .concat()
}

/// The dims of a factor as it is stored.
pub fn stored(rows: usize, columns: usize, transposed: bool) -> [usize; 2] {
    if transposed { [columns, rows] } else { [rows, columns] }
}

/// op(A)·op(B) of m by k and k by n, each `batch` times where that is not 0.
pub fn matmul(batch: usize, [m, n, k]: [usize; 3], op: MatMul) -> Case {
    let dims = |dims: [usize; 2]| if batch == 0 { dims.to_vec() } else { [&[batch], &dims[..]].concat() };
    let args = [
        Arg::normal(&dims(stored(m, k, op.transpose_a)), 1),
        Arg::normal(&dims(stored(k, n, op.transpose_b)), 2),
    ];
    Case::new(op, &args, Tolerance::Accumulated)
}

/// Every form.
pub fn multiples_of_four_and_edges_of_tiles() -> Vec<Case> {
    let sizes =
        [[1, 1, 1], [16, 16, 16], [64, 64, 64], [20, 36, 12], [65, 128, 132], [17, 4, 260], [33, 29, 17]];
    let form = |sizes| {
        FORMS.map(|(transpose_a, transpose_b)| {
            matmul(0, sizes, MatMul { transpose_a, transpose_b, alpha: 1.0 })
        })
    };
    sizes.into_iter().flat_map(form).collect()
}

/// As many tiles as fill a GPU.
pub fn many_tiles() -> Vec<Case> {
    let mut cases = Vec::new();
    for (transpose_a, transpose_b) in FORMS {
        let op = MatMul { transpose_a, transpose_b, alpha: 1.0 };
        cases.extend([matmul(129, [6, 7, 9], op), matmul(129, [8, 12, 20], op)]);
    }
    cases.push(matmul(33, [130, 132, 12], MatMul { transpose_b: true, ..MatMul::PLAIN }));
    cases
}

/// Inner dimensions that are cut into parts.
pub fn long_sums() -> Vec<Case> {
    let op = MatMul { transpose_a: true, ..MatMul::PLAIN };
    // Parts of which the last is shorter, of matrices whose size is no multiple of 4 as well.
    let uneven = [(1031, 36, 12), (1025, 7, 9), (2049, 132, 4)].map(|(k, m, n)| {
        Case::forward(op, &[Arg::normal(&[k, m], 1), Arg::normal(&[k, n], 2)], Tolerance::Accumulated)
    });
    [&[matmul(0, [16, 12, 1030], op)][..], &uneven].concat()
}

/// Weights and biases of linear layers: in parts and not, past edges of tiles, of sizes that no vector divides; of what a norm
/// makes too.
pub fn weight_gradients() -> Vec<Case> {
    let sizes = [[5, 8, 12], [600, 8, 4], [1031, 36, 12], [1025, 7, 9], [2049, 132, 4], [1, 4, 4]];
    let plain = WeightGradient { alpha: 0.5, f16_inputs: false, norm: None };
    let rounded = WeightGradient { f16_inputs: true, ..plain };
    let mut cases = Vec::new();
    let mut forward = |op, args: &[Arg]| cases.push(Case::forward(op, args, Tolerance::Accumulated));
    for sizes in sizes {
        forward(plain, &gradient_args(sizes)[..2]);
        forward(rounded, &gradient_args(sizes)[..2]);
        forward(WeightGradient { norm: Some(NORM), ..plain }, &gradient_args(sizes));
    }
    // As many tiles as a large kernel needs.
    let sizes = [5700, 260, 132];
    forward(plain, &gradient_args(sizes)[..2]);
    forward(WeightGradient { norm: Some(NORM), ..plain }, &gradient_args(sizes));
    forward(WeightGradient { norm: Some(NORM), ..rounded }, &gradient_args(sizes));
    cases
}

/// With operands in f16, of what a norm makes too.
pub fn rounded_weight_gradients(sizes: [usize; 3]) -> [Case; 2] {
    let op = WeightGradient { alpha: 0.5, f16_inputs: true, norm: None };
    let args = gradient_args(sizes);
    [
        Case::forward(op, &args[..2], Tolerance::Accumulated),
        Case::forward(WeightGradient { norm: Some(NORM), ..op }, &args, Tolerance::Accumulated),
    ]
}

const NORM: LayerNorm = LayerNorm { eps: 1e-5 };

/// dy, x, and of the norm of x its weight, bias, mean and rstd.
fn gradient_args([rows, outputs, inputs]: [usize; 3]) -> Vec<Arg> {
    let x = Arg::normal(&[rows, inputs], 2);
    let [weight, bias] = [3, 4].map(|seed| Arg::normal(&[inputs], seed));
    let found = NORM.reference(&[&x.values, &weight.values, &bias.values]);
    let [mean, rstd] = [1, 2].map(|result: usize| Arg::f32(&[rows], |i| found[result][[i]]));
    vec![Arg::normal(&[rows, outputs], 1), x, weight, bias, mean, rstd]
}

fn f16_inputs(matmul: MatMul) -> PlannedMatMul {
    PlannedMatMul { f16_inputs: true, ..matmul.into() }
}

/// With operands in f16.
pub fn operands_f16() -> Vec<Case> {
    let forward = |op, args: &[Arg]| Case::forward(op, args, Tolerance::Accumulated);
    let case = |[m, n, k]: [usize; 3], (transpose_a, transpose_b)| {
        let op = f16_inputs(MatMul { transpose_a, transpose_b, alpha: 0.5 });
        let (a, b) = (stored(m, k, transpose_a), stored(k, n, transpose_b));
        forward(op, &[Arg::normal(&a, 1), Arg::normal(&b, 2), Arg::normal(&[n], 3)])
    };
    let mut cases = Vec::new();
    // With edges of tiles of 64 and 128.
    for form in FORMS {
        cases
            .extend([[4, 8, 4], [132, 136, 68], [64, 132, 36], [300, 4, 132]].map(|sizes| case(sizes, form)));
    }
    // Sizes that only scalar kernels take.
    cases.push(case([33, 29, 17], (false, true)));
    cases.push(case([65, 132, 36], (true, false)));
    let args = [Arg::normal(&[3, 20, 8], 1), Arg::normal(&[3, 8, 12], 2)];
    cases.push(forward(f16_inputs(MatMul::PLAIN), &args));
    let args = [Arg::normal(&[1032, 16], 1), Arg::normal(&[1032, 12], 2)];
    cases.push(forward(f16_inputs(MatMul { transpose_a: true, ..MatMul::PLAIN }), &args));
    cases
}

/// Operands are rounded to the nearest f16: powers of 2 with a mantissa between two of them, subnormal ones and ties
/// among them; times 1.
pub fn roundings() -> Vec<Case> {
    let value = |i: usize| {
        let mantissa = [1.0, 1.0 + 1.0 / 2048.0, 1.0 + 3.0 / 2048.0, 1.0 + 1.3 / 2048.0][i % 4];
        let sign = if i.is_multiple_of(3) { -1.0 } else { 1.0 };
        sign * mantissa * 2.0_f64.powi(i as i32 / 4 - 26)
    };
    let rows = |rows: usize| {
        let args = [
            Arg::f32(&[rows, 4], |i| if i.is_multiple_of(4) { value(i / 4) } else { 0.0 }),
            Arg::f32(&[4, 4], |_| 1.0),
        ];
        Case::forward(f16_inputs(MatMul::PLAIN), &args, Tolerance::Exact)
    };
    [160, 161].map(rows).to_vec()
}

/// With what follows the matmul: an activation, dropout, a scale, an addend or a derivative.
pub fn epilogues() -> Vec<Case> {
    let mut cases = Vec::new();
    let mut forward = |op, args: &[Arg]| cases.push(Case::forward(op, args, Tolerance::Accumulated));
    let by_rows = MatMul { transpose_b: true, ..MatMul::PLAIN };
    let finished = |matmul: MatMul, finish| PlannedMatMul { matmul, f16_inputs: false, finish };
    let with = |kind| finished(by_rows, Finish { activation: Some(kind), ..Finish::NONE });
    for ([m, n, k], kind) in [([20, 36, 12], ActivationKind::Gelu), ([17, 13, 9], ActivationKind::Silu)] {
        forward(with(kind), &[Arg::normal(&[m, k], 1), Arg::normal(&[n, k], 2), Arg::normal(&[n], 3)]);
    }
    // As many tiles as fill a GPU.
    for ([m, n, k], kind) in [([8, 12, 20], ActivationKind::Sigmoid), ([6, 7, 9], ActivationKind::LeakyRelu)]
    {
        forward(with(kind), &[Arg::normal(&[129, m, k], 1), Arg::normal(&[129, n, k], 2)]);
    }
    let op = PlannedMatMul { f16_inputs: true, ..with(ActivationKind::Gelu) };
    forward(op, &[Arg::normal(&[20, 12], 1), Arg::normal(&[36, 12], 2)]);
    // A sum that is made of parts otherwise.
    let op = PlannedMatMul { matmul: MatMul::PLAIN, ..with(ActivationKind::Gelu) };
    forward(op, &[Arg::normal(&[16, 1030], 1), Arg::normal(&[1030, 12], 2)]);

    let rng = || Arg::u32(&[3], |i| [3, 17, 1][i]);
    let like = |[batch, m, n]: [usize; 3]| Arg::normal(&[batch, m, n], 9);
    let dropout = |first| Some(Dropout { probability: 0.3, stream: 11, first });
    let halved = MatMul { alpha: 0.5, ..by_rows };
    let plain = Finish { scale: -0.5, ..Finish::NONE };
    let other = |operand, role| Some(Other { operand, role });
    let derivative = Role::Derivative(ActivationKind::Gelu);
    let most = Finish { activation: Some(ActivationKind::Gelu), dropout: dropout(0), ..plain };
    let all = |role| finished(halved, Finish { other: other(3, role), ..most });
    let mut with_factors = |op, [batch, m, n, k]: [usize; 4], more: &[Arg]| {
        let factors = [Arg::normal(&[batch, m, k], 1), Arg::normal(&[batch, n, k], 2)];
        forward(op, &[&factors[..], more].concat());
    };
    // Aligned and not, tiles of 64 and 128.
    for sizes in [[1, 20, 36, 12], [2, 17, 13, 9], [129, 8, 12, 20], [129, 6, 7, 9]] {
        let [batch, m, n, _] = sizes;
        with_factors(all(Role::Addend), sizes, &[rng(), like([batch, m, n])]);
    }
    with_factors(all(derivative), [2, 17, 13, 9], &[rng(), like([2, 17, 13])]);
    let sizes = [1, 20, 36, 12];
    for role in [Role::Addend, derivative] {
        let with_other = finished(halved, Finish { other: other(2, role), ..plain });
        with_factors(with_other, sizes, &[like([1, 20, 36])]);
    }
    let op = PlannedMatMul { f16_inputs: true, ..all(Role::Addend) };
    with_factors(op, sizes, &[rng(), like([1, 20, 36])]);
    with_factors(finished(halved, Finish { dropout: dropout(8), ..plain }), sizes, &[rng()]);
    // Frames behind the lengths of utterances, by a matmul of all and one of each.
    let lengths = Arg::u32(&[3], |i| [5, 0, 3][i]);
    for (shared, n) in [(true, 12), (false, 7)] {
        let weight = if shared { vec![n, 8] } else { vec![3, n, 8] };
        let args =
            [Arg::normal(&[3, 5, 8], 1), Arg::normal(&weight, 2), rng(), lengths.clone(), like([3, 5, n])];
        let finish = Finish { lengths: Some(3), other: other(4, Role::Addend), ..most };
        forward(finished(by_rows, finish), &args);
    }
    // With a bias, of one matmul for all of the batch.
    let finish = Finish { dropout: dropout(0), scale: 2.0, other: other(4, Role::Addend), ..Finish::NONE };
    let op = finished(by_rows, finish);
    let args = [Arg::normal(&[3, 5, 8], 1), Arg::normal(&[12, 8], 2), Arg::normal(&[12], 3), rng()];
    forward(op, &[&args[..], &[like([3, 5, 12])]].concat());
    cases
}
