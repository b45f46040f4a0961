//! Cases of losses and predictions.

use super::{Arg, Case, Tolerance};
use crate::ops::loss::{AngularMargin, Argmax, CrossEntropy, Likely};

/// All of them.
pub fn all() -> Vec<Case> {
    [cross_entropy(), cross_entropy_edges(), argmax(), likely(), angular_margin()].concat()
}

/// The operands of a cross entropy. Every third target is the row's best class, so that some rows are hits.
pub fn cross_entropy_args(rows: usize, vocab: usize, count: usize) -> [Arg; 3] {
    let logits = Arg::normal(&[rows, vocab], 8);
    let targets = Arg::u32(&[rows], |row| match row % 3 {
        0 => {
            let logit = |class: &usize| logits.at(row * vocab + class);
            (0..vocab).max_by(|a, b| logit(a).total_cmp(&logit(b))).unwrap_or(0) as u32
        }
        _ => (row * 7919 % vocab) as u32,
    });
    [logits, targets, Arg::u32(&[1], |_| count as u32)]
}

/// Rows and classes.
pub fn cross_entropy() -> Vec<Case> {
    let all = [
        (1, 1, 1),
        (1, 29, 1),
        (7, 29, 5),
        (9, 8, 9),
        (5, 31, 0),
        (5, 32, 100),
        (67, 257, 66),
        (6, 1024, 4),
        (2, 8192, 2),
        (300, 12, 299),
        (701, 3, 699),
    ];
    let case = |(rows, vocab, count)| {
        Case::new(CrossEntropy, &cross_entropy_args(rows, vocab, count), Tolerance::Accumulated)
    };
    let mut cases = all.map(case).to_vec();
    cases.push(Case::forward(CrossEntropy, &cross_entropy_args(0, 4, 3), Tolerance::Exact));
    cases
}

/// Targets that are no classes, equal logits, and logits far apart.
pub fn cross_entropy_edges() -> Vec<Case> {
    let all = |vocab: usize| {
        let [logits, _, count] = cross_entropy_args(4, vocab, 4);
        let outside = Arg::u32(&[4], |row| [1, vocab as u32, u32::MAX, 3][row]);
        // Of equal logits the lowest class is the best one: class 0 in all rows, a hit in rows 0 and 2.
        let equal = Arg::f32(&[4, vocab], |_| 2.5);
        let targets = Arg::u32(&[4], |row| row as u32 % 2);
        let far = Arg::f32(&[4, vocab], |i| [1e4, -1e4, 9e3, 0.0, 1e4 - 1.0][i % 5]);
        [
            Case::new(CrossEntropy, &[logits, outside, count.clone()], Tolerance::Accumulated),
            Case::new(CrossEntropy, &[equal, targets.clone(), count.clone()], Tolerance::Accumulated),
            Case::forward(CrossEntropy, &[far, targets, count], Tolerance::Accumulated),
        ]
    };
    [8, 9].into_iter().flat_map(all).collect()
}

/// The best class of each row, the first of equals.
pub fn argmax() -> Vec<Case> {
    let forward = |x| Case::forward(Argmax, &[x], Tolerance::Elementwise);
    let shapes: [&[usize]; 8] =
        [&[1], &[3, 1], &[29], &[2, 3, 29], &[70, 33], &[9, 64], &[2, 8192], &[701, 1]];
    let mut cases = shapes.map(|dims| forward(Arg::normal(dims, 6))).to_vec();
    for vocab in [1, 5, 8, 9, 64, 100] {
        cases.push(forward(Arg::f32(&[11, vocab], |i| (i * 31 % 7) as f64)));
        cases.push(forward(Arg::f32(&[3, vocab], |_| -2e9)));
    }
    cases.push(Case::forward(Argmax, &[Arg::normal(&[0, 4], 6)], Tolerance::Exact));
    cases
}

/// The classes that may matter to a decoder.
pub fn likely() -> Vec<Case> {
    let forward = |op, x| Case::forward(op, &[x], Tolerance::Accumulated);
    let all = [
        (1, 1, -5.0),
        (1, 29, -2.0),
        (3, 63, -3.0),
        (3, 64, -3.0),
        (70, 65, -3.0),
        (2, 5000, -8.0),
        (701, 3, -1.5),
    ];
    let case = |(rows, vocab, least)| forward(Likely::from(least, vocab), Arg::normal(&[rows, vocab], 6));
    let mut cases = all.map(case).to_vec();
    // Nothing reaches the threshold but the best, of equals the first; large numbers; more than there is room for.
    let op = Likely { least: -0.1, room: 3 };
    cases.push(forward(op, Arg::f32(&[5, 100], |i| (i * 31 % 7) as f64)));
    cases.push(forward(op, Arg::f32(&[3, 9], |_| -2e9)));
    let far = Arg::f32(&[4, 9], |i| [1e4, -1e4, 9e3, 0.0, 1e4 - 1.0][i % 5]);
    cases.push(forward(Likely { least: -3.0, room: 9 }, far));
    cases.push(forward(Likely { least: -30.0, room: 5 }, Arg::normal(&[7, 40], 3)));
    cases.push(Case::forward(op, &[Arg::normal(&[0, 4], 6)], Tolerance::Exact));
    cases
}

/// Cosines of rows and classes, with margins.
pub fn angular_margin() -> Vec<Case> {
    let mut cases = Vec::new();
    for (rows, classes) in [(1, 1), (3, 7), (64, 5), (13, 67), (2, 1021)] {
        let values = Arg::normal(&[rows, classes], 5);
        let cosines = Arg::f32(&[rows, classes], |i| 0.95 * values.at(i).tanh());
        let targets = Arg::u32(&[rows], |row| (row * 7919 % classes) as u32);
        for margin in [0.0, 0.2, 1.0] {
            let args = [cosines.clone(), targets.clone()];
            cases.push(Case::new(AngularMargin { margin }, &args, Tolerance::Elementwise));
        }
    }
    // The ends of the range, both sides of θ + m = π, a target that is no class.
    let edges = [1.0, -1.0, 0.9999999, -0.5, 0.3, 0.3];
    let targets = [0, 1, 0, 1, 2, u32::MAX];
    let args = [Arg::f32(&[6, 3], |i| edges[i / 3]), Arg::u32(&[6], |i| targets[i])];
    cases.push(Case::forward(AngularMargin { margin: 0.5 }, &args, Tolerance::Elementwise));
    cases
}
