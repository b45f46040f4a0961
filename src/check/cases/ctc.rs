//! Cases of the CTC loss.

use super::{Arg, Case, Tolerance};
use crate::ops::ctc::{CtcLoss, CtcLossBackward};
use crate::rng::Rng;

/// All of them.
pub fn all() -> Vec<Case> {
    [shapes(), impossible_targets()].concat()
}

const ZERO: CtcLoss = CtcLoss { blank: 0, zero_infinity: true };

/// Logits, targets, input lengths and target lengths as the operands of the operation.
pub fn operands(
    dims: [usize; 3],
    spread: f64,
    blank: u32,
    max_target_length: usize,
    lengths: &[(u32, u32)],
    seed: u32,
) -> [Arg; 4] {
    let [batch, _, vocab] = dims;
    let mut rng = Rng::new(&[seed, 3]);
    let logits = Arg::f32(&dims, |_| spread * rng.normal());
    // Few classes make many labels repeat at once; what lies beyond a target is garbage.
    let targets = Arg::u32(&[batch, max_target_length], |i| {
        let class = rng.below(vocab.max(2) - 1) as u32;
        let label = if class >= blank { class + 1 } else { class };
        if (i % max_target_length) as u32 >= lengths[i / max_target_length].1 { 0xdead_beef } else { label }
    });
    [logits, targets, Arg::u32(&[batch], |b| lengths[b].0), Arg::u32(&[batch], |b| lengths[b].1)]
}

/// Frames, classes and labels.
pub fn shapes() -> Vec<Case> {
    type Shape = ([usize; 3], u32, usize, &'static [(u32, u32)]);
    let all: [Shape; 9] = [
        ([1, 1, 1], 0, 0, &[(1, 0)]),
        ([1, 1, 2], 0, 1, &[(1, 1)]),
        ([3, 2, 2], 1, 1, &[(0, 0), (0, 1), (2, 1)]),
        ([2, 17, 29], 0, 5, &[(17, 5), (11, 3)]),
        ([3, 13, 3], 2, 7, &[(13, 3), (12, 4), (5, 7)]),
        // 7, 9, 63, 65 states: lanes beside the workgroup's size.
        ([2, 9, 63], 0, 4, &[(9, 3), (9, 4)]),
        ([2, 70, 64], 0, 32, &[(66, 31), (70, 32)]),
        ([2, 4, 65], 64, 300, &[(4, 2), (3, 300)]),
        ([1, 3, 259], 7, 2, &[(3, 2)]),
    ];
    let case = |(dims, blank, max_target_length, lengths)| {
        let args = operands(dims, 1.5, blank, max_target_length, lengths, 1);
        Case::new(CtcLoss { blank, ..ZERO }, &args, Tolerance::Accumulated)
    };
    let mut cases = all.map(case).to_vec();
    cases.push(Case::forward(ZERO, &operands([0, 3, 4], 1.0, 0, 2, &[], 1), Tolerance::Exact));
    let no_frames = operands([2, 0, 4], 1.0, 0, 2, &[(0, 0), (0, 1)], 1);
    cases.push(Case::forward(ZERO, &no_frames, Tolerance::Exact));
    for dims in [[3, 5, 7], [9, 1, 1], [5, 1, 3], [2, 64, 31]] {
        let backward = [Arg::normal(&dims, 1), Arg::normal(&dims[..1], 2)];
        cases.push(Case::forward(CtcLossBackward, &backward, Tolerance::Elementwise));
    }
    cases
}

/// Too long; repeated without room for the blank; lengths beyond the tensors; no such labels; possible.
pub fn impossible_args() -> [Arg; 4] {
    let lengths = [(4, 5), (3, 2), (5, 1), (4, 6), (4, 2), (4, 2), (4, 4)];
    let mut args = operands([7, 4, 5], 1.0, 0, 5, &lengths, 1);
    let targets = [
        [1, 2, 3, 4, 1],
        [2, 2, 9, 9, 9],
        [1; 5],
        [1, 2, 3, 4, 1],
        [1, 5, 0, 0, 0],
        [0, 1, 0, 0, 0],
        [4, 3, 2, 1, 0],
    ];
    args[1] = Arg::u32(&[7, 5], |i| targets[i / 5][i % 5]);
    args[2] = Arg::u32(&[7], |i| if i == 1 { 2 } else { lengths[i].0 });
    args
}

/// Targets that no output says.
pub fn impossible_targets() -> Vec<Case> {
    vec![Case::new(ZERO, &impossible_args(), Tolerance::Accumulated)]
}
