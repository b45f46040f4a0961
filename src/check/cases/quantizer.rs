//! Cases of the quantizer.

use super::{Arg, Case, Tolerance};
use crate::ops::quantizer::NearestCode;

/// All of them.
pub fn all() -> Vec<Case> {
    [nearest_code(), ties(), sizes()].concat()
}

/// Rows of length 1; `period` codes that repeat.
pub fn codebook(codes: usize, size: usize, period: usize) -> Arg {
    let raw = Arg::normal(&[period, size], 12);
    Arg::f32(&[codes, size], |i| {
        let row = i / size % period * size;
        let norm = (0..size).map(|j| raw.at(row + j).powi(2)).sum::<f64>().sqrt();
        raw.at(row + i % size) / norm
    })
}

fn exact(x: Arg, codebook: Arg) -> Case {
    Case::forward(NearestCode, &[x, codebook], Tolerance::Exact)
}

/// Rows and codes around the size of a workgroup.
pub fn nearest_code() -> Vec<Case> {
    let mut cases = Vec::new();
    for (rows, codes) in [(1, 1), (3, 2), (63, 17), (65, 255), (64, 256), (130, 257), (7, 1031)] {
        for size in [16, 1, 5, 20] {
            if size > 1 || codes == 1 {
                cases.push(exact(Arg::normal(&[rows, size], 3), codebook(codes, size, codes)));
            }
        }
    }
    cases.push(exact(Arg::normal(&[0, 16], 3), codebook(5, 16, 5)));
    cases
}

/// The lowest of equal codes.
pub fn ties() -> Vec<Case> {
    let both = |size| {
        [
            exact(Arg::normal(&[33, size], 3), codebook(1024, size, 128)),
            exact(Arg::f32(&[5, size], |_| 0.0), codebook(700, size, 700)),
        ]
    };
    [16, 6].into_iter().flat_map(both).collect()
}

/// Rows that are very short and very long.
pub fn sizes() -> Vec<Case> {
    let x = Arg::normal(&[40, 16], 3);
    let scaled = |scale: f64| exact(Arg::f32(&[40, 16], |i| scale * x.at(i)), codebook(300, 16, 300));
    [1e-12, 1e12].map(scaled).to_vec()
}
