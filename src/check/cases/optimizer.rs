//! Cases of the optimizer.

use super::{Arg, Case, Tolerance};
use crate::ops::optimizer::{Accumulate, AdamW, ClipGradNorm, GrowLossScale, SquaredNorm};

/// All of them.
pub fn all() -> Vec<Case> {
    [squared_norm(), clip_grad_norm(), loss_scale(), adamw(), accumulate()].concat()
}

/// Sums of squares; of ones, they count every element.
pub fn squared_norm() -> Vec<Case> {
    let of = |size| Case::forward(SquaredNorm, &[Arg::normal(&[size], 4)], Tolerance::Accumulated);
    let mut cases = [0, 1, 3, 4, 5, 255, 256, 257, 4099, 40_003].map(of).to_vec();
    let ones = Arg::f32(&[4 * 300_000 + 3], |_| 1.0);
    cases.push(Case::forward(SquaredNorm, &[ones], Tolerance::Exact));
    cases
}

/// Norm and clipping.
pub fn clip_grad_norm() -> Vec<Case> {
    let all: [(&[f64], f64, f32); 6] = [
        (&[9.0, 16.0], 1.0, 1.0),
        (&[9.0, 16.0], 0.25, 1.0),
        (&[9.0, 16.0], 0.125, 1.0),
        (&[9.0], 1.0, 0.0),
        (&[9.0], 0.5, -1.0),
        (&[0.0, 0.0, 0.0], 1.0, 5.0),
    ];
    let gradient_scale = |gradient_scale| Arg::f32(&[1], |_| gradient_scale);
    let case = |(sums, by, clip): (&[f64], f64, f32)| {
        let args = [Arg::f32(&[sums.len()], |i| sums[i]), gradient_scale(by)];
        Case::forward(ClipGradNorm { clip }, &args, Tolerance::Elementwise)
    };
    let mut cases = all.map(case).to_vec();
    let args = [Arg::f32(&[2], |i| [1.0, f64::INFINITY][i]), gradient_scale(1.0)];
    cases.push(Case::forward(ClipGradNorm { clip: 1.0 }, &args, Tolerance::Exact));
    cases
}

/// How the scale of the loss grows and falls.
pub fn loss_scale() -> Vec<Case> {
    let all = [
        ([1024.0, 0.0], 0.0),
        ([1024.0, 1.0], 0.0),
        ([1024.0, 2.0], 0.0),
        ([1024.0, 2.0], 1.0),
        ([1.0, 0.0], 1.0),
        ([16_777_216.0, 2.0], 0.0),
    ];
    let case = |(state, nonfinite): ([f64; 2], f64)| {
        let args = [Arg::f32(&[2], |i| state[i]), Arg::f32(&[3], |i| [7.0, 0.5, nonfinite][i])];
        Case::forward(GrowLossScale { growth_interval: 3 }, &args, Tolerance::Exact)
    };
    all.map(case).to_vec()
}

/// The operands of an update.
pub fn adamw_args(size: usize, scale: f64, nonfinite: f64) -> Vec<Arg> {
    let square = Arg::normal(&[size], 4);
    vec![
        Arg::normal(&[size], 1),
        Arg::normal(&[size], 2),
        Arg::normal(&[size], 3),
        Arg::f32(&[size], |i| square.at(i).powi(2)),
        Arg::f32(&[3], |i| [7.0, scale, nonfinite][i]),
        Arg::f32(&[4], |i| [0.01, 0.1, 1.0 - 0.9_f64.powi(3), 1.0 - 0.98_f64.powi(3)][i]),
    ]
}

/// Updates, and those that a gradient which is not finite leaves out.
pub fn adamw() -> Vec<Case> {
    let rule = AdamW { beta1: 0.9, beta2: 0.98, eps: 1e-9 };
    let mut cases = Vec::new();
    for size in [0, 1, 3, 4, 5, 255, 256, 257, 1021] {
        cases.push(Case::forward(rule, &adamw_args(size, 0.3, 0.0), Tolerance::Elementwise));
        cases.push(Case::forward(rule, &adamw_args(size, 0.0, 1.0), Tolerance::Exact));
    }
    let mut first = adamw_args(64, 1.0, 0.0);
    (first[2], first[3]) = (Arg::f32(&[64], |_| 0.0), Arg::f32(&[64], |_| 0.0));
    first[5] = Arg::f32(&[4], |i| [1.0, 0.0, 0.1, 0.001][i]);
    cases.push(Case::forward(AdamW { beta2: 0.999, ..rule }, &first, Tolerance::Elementwise));
    cases
}

/// Sums in place.
pub fn accumulate() -> Vec<Case> {
    let of = |size| {
        let args = [Arg::normal(&[size], 1), Arg::normal(&[size], 2)];
        Case::forward(Accumulate, &args, Tolerance::Elementwise)
    };
    [0, 1, 3, 4, 5, 256, 257, 1021, 4 * 70_001].map(of).to_vec()
}
