//! Cases of norms and softmax.

use super::{Arg, Case, Tolerance};
use crate::ops::norm::{AddedLayerNorm, LayerNorm, LayerNormBackward, LogSoftmax, Softmax};

/// All of them.
pub fn all() -> Vec<Case> {
    [layer_norm(), with_addends(), far_means(), softmax(), softmax_edges()].concat()
}

const NORM: LayerNorm = LayerNorm { eps: 1e-5 };

/// The operands of a layer norm.
pub fn layer_norm_args(dims: &[usize]) -> [Arg; 3] {
    let n = dims.last().copied().unwrap_or(1);
    [Arg::normal(dims, 1), Arg::normal(&[n], 2), Arg::normal(&[n], 3)]
}

/// By rows.
pub fn layer_norm() -> Vec<Case> {
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
    let mut cases: Vec<Case> =
        shapes.map(|dims| Case::new(NORM, &layer_norm_args(dims), Tolerance::Accumulated)).to_vec();
    cases.push(Case::forward(NORM, &layer_norm_args(&[0, 8]), Tolerance::Exact));
    cases
}

/// Layer norm, and its derivative, with something added; of more rows than a chunk has too.
pub fn with_addends() -> Vec<Case> {
    [[5, 8], [3, 31], [67, 12], [300, 33], [2, 2048], [0, 8]].into_iter().flat_map(with_addend).collect()
}

/// Both of these rows.
pub fn with_addend([rows, n]: [usize; 2]) -> [Case; 2] {
    let [x, weight, bias] = layer_norm_args(&[rows, n]);
    let (dy, addend) = (Arg::normal(&[rows, n], 4), Arg::normal(&[rows, n], 5));
    let [mean, rstd] = [6, 7].map(|seed| Arg::normal(&[rows], seed));
    let backward = [x.clone(), weight.clone(), mean, rstd, dy, addend.clone()];
    [
        Case::forward(AddedLayerNorm(NORM), &[x, weight, bias, addend], Tolerance::Accumulated),
        Case::forward(LayerNormBackward { has_addend: true }, &backward, Tolerance::Accumulated),
    ]
}

/// Means far above the deviation.
pub fn far_means() -> Vec<Case> {
    let rows = |n: usize| {
        let [x, weight, bias] = layer_norm_args(&[4, n]);
        let args = |x| [x, weight.clone(), bias.clone()];
        [
            Case::new(NORM, &args(Arg::f32(&[4, n], |i| 100.0 + x.at(i))), Tolerance::Accumulated),
            Case::forward(NORM, &args(Arg::f32(&[4, n], |i| 1e4 + x.at(i))), Tolerance::Accumulated),
            Case::forward(NORM, &args(Arg::f32(&[4, n], |_| 3.7)), Tolerance::Accumulated),
        ]
    };
    [96, 97].into_iter().flat_map(rows).collect()
}

/// By rows, and its logarithm.
pub fn softmax() -> Vec<Case> {
    let shapes: [&[usize]; 9] =
        [&[1], &[5, 1], &[3, 4], &[2, 3, 29], &[17, 33], &[70, 64], &[3, 257], &[2, 1024], &[2, 8191]];
    let both = |dims| {
        let args = [Arg::normal(dims, 4)];
        [
            Case::new(Softmax, &args, Tolerance::Accumulated),
            Case::new(LogSoftmax, &args, Tolerance::Accumulated),
        ]
    };
    shapes.into_iter().flat_map(both).collect()
}

/// Large numbers, nothing, one column.
pub fn softmax_edges() -> Vec<Case> {
    let extreme = [1e30, -1e30, 0.0, 90.0, -100.0, 88.0, 100.0, -3e4, 3.0, 3.0, 3.0, 3.0];
    let args = [Arg::f32(&[3, 4], |i| extreme[i])];
    vec![
        Case::forward(Softmax, &args, Tolerance::Elementwise),
        Case::forward(LogSoftmax, &args, Tolerance::Elementwise),
        Case::forward(Softmax, &[Arg::normal(&[0, 4], 1)], Tolerance::Exact),
        Case::forward(Softmax, &[Arg::normal(&[701, 1], 1)], Tolerance::Exact),
    ]
}
