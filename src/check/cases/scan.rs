//! Cases of the selective scan.

use super::{Arg, Case, Tolerance};
use crate::ops::scan::SelectiveScan;
use crate::rng::Rng;

/// All of them.
pub fn all() -> Vec<Case> {
    [selective_scan(), five_minutes(), extreme_steps()].concat()
}

/// u, Δ log-uniform from 0.001 to 1, A_log about ln 1 … ln 16, B and C, D, lengths.
pub fn scan_args([time, channels]: [usize; 2], lengths: &[u32]) -> [Arg; 6] {
    let batch = lengths.len();
    let mut rng = Rng::new(&[6]);
    [
        Arg::normal(&[batch, time, channels], 1),
        Arg::f32(&[batch, time, channels], |_| (1e-3_f64.ln() * f64::from(rng.unit())).exp()),
        Arg::f32(&[channels, 16], |i| ((i % 16 + 1) as f64).ln() + 0.1 * (i as f64).sin()),
        Arg::normal(&[batch, time, 32], 2),
        Arg::normal(&[channels], 3),
        Arg::u32(&[batch], |i| lengths[i]),
    ]
}

fn both(args: &[Arg]) -> [Case; 2] {
    [false, true].map(|reverse| Case::new(SelectiveScan { reverse }, args, Tolerance::Accumulated))
}

/// Frames and channels around the size of a chunk.
pub fn selective_scan() -> Vec<Case> {
    let all: [([usize; 2], &[u32]); 9] = [
        ([1, 1], &[1]),
        ([1, 3], &[1, 0]),
        ([2, 5], &[2, 1, 0]),
        ([7, 64], &[7, 3]),
        ([63, 4], &[63, 62]),
        ([64, 7], &[64, 1, 0]),
        ([65, 3], &[65, 64, 63]),
        ([131, 67], &[131, 70]),
        ([193, 130], &[192]),
    ];
    let mut cases: Vec<Case> =
        all.into_iter().flat_map(|(sizes, lengths)| both(&scan_args(sizes, lengths))).collect();
    let op = SelectiveScan { reverse: false };
    cases.push(Case::forward(op, &scan_args([4, 3], &[]), Tolerance::Exact));
    cases.push(Case::forward(op, &scan_args([0, 3], &[0, 0]), Tolerance::Exact));
    cases
}

/// 128 chunks: more frames than a loop that an adapter cuts short would get through.
pub fn five_minutes() -> Vec<Case> {
    both(&scan_args([8192, 3], &[8192, 8001])).to_vec()
}

/// Steps that forget everything at once, or nothing, are no trouble.
pub fn extreme_steps() -> Vec<Case> {
    let mut args = scan_args([70, 4], &[70, 66]);
    let steps = [0.0, 1e-30, 1e-6, 50.0, 1e4, 1e8];
    args[1] = Arg::f32(&[2, 70, 4], |i| steps[i * 31 % 6]);
    // Inputs so small that no product is large.
    args[0] = Arg::f32(&[2, 70, 4], |i| 1e-8 * (i as f64).cos());
    let forward = |reverse| Case::forward(SelectiveScan { reverse }, &args, Tolerance::Accumulated);
    [false, true].map(forward).to_vec()
}
