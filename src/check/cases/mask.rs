//! Cases of masks.

use super::{Arg, Case, Tolerance};
use crate::ops::mask::{MaskFrames, MaskWeights};

/// All of them.
pub fn all() -> Vec<Case> {
    [mask_frames(), mask_weights()].concat()
}

/// The operands that set frames behind the lengths to 0.
pub fn frames(time: usize, channels: usize, lengths: &[u32]) -> [Arg; 2] {
    let batch = lengths.len();
    [Arg::normal(&[batch, time, channels], 1), Arg::u32(&[batch], |i| lengths[i])]
}

/// Zeros behind the lengths.
pub fn mask_frames() -> Vec<Case> {
    let all: [(usize, usize, &[u32]); 4] =
        [(1, 1, &[1]), (1, 5, &[0]), (7, 3, &[0, 7, 4]), (64, 5, &[63, 64, 1])];
    let case =
        |(time, channels, lengths)| Case::new(MaskFrames, &frames(time, channels, lengths), Tolerance::Exact);
    let mut cases = all.map(case).to_vec();
    cases.push(Case::forward(MaskFrames, &frames(4, 3, &[]), Tolerance::Exact));
    cases
}

/// Weights of a mean.
pub fn mask_weights() -> Vec<Case> {
    let mask = |dims: &[usize]| {
        let time = dims.last().copied().unwrap_or(1);
        // Rows of real weights, whole ones, late ones and none at all.
        Arg::f32(dims, |i| match i / time % 4 {
            0 => 0.1 + (i % 7) as f64 * 0.3,
            1 => 1.0,
            2 => f64::from(u8::from(i % time > time / 2)),
            _ => 0.0,
        })
    };
    let shapes: [&[usize]; 7] = [&[1], &[4, 1], &[4, 31], &[4, 64], &[2, 5, 67], &[3, 0], &[0, 3]];
    let both = |dims| {
        [false, true]
            .map(|causal| Case::forward(MaskWeights { causal }, &[mask(dims)], Tolerance::Elementwise))
    };
    shapes.into_iter().flat_map(both).collect()
}
