//! Cases of the Polynomial Mixer.

use super::{Arg, Case, Tolerance};
use crate::ops::map::ActivationKind::{self, BoundedLeakyRelu, Gelu, Relu};
use crate::ops::pom::{PomAggregate, PomSelect};

/// All of them.
pub fn all() -> Vec<Case> {
    [degrees(), times(), masks(), nothing(), long_means(), powers(), ignored_frames(), select()].concat()
}

/// 1 up to each utterance's length, 0 behind it.
pub fn mask(time: usize, lengths: &[usize]) -> Arg {
    Arg::f32(&[lengths.len(), time], |i| f64::from(u8::from(i % time < lengths[i / time])))
}

fn ones(batch: usize, time: usize) -> Arg {
    Arg::f32(&[batch, time], |_| 1.0)
}

/// Means of products over all frames, and over those up to each.
pub fn both(degree: usize, p: &[usize], mask: &Arg) -> Vec<Case> {
    let case = |causal| {
        let args = [Arg::normal(p, 6), mask.clone()];
        Case::new(PomAggregate::products(degree, causal), &args, Tolerance::Accumulated)
    };
    [false, true].map(case).to_vec()
}

/// Degrees.
pub fn degrees() -> Vec<Case> {
    let all = [(1, 4), (2, 1), (2, 12), (3, 3), (4, 4), (8, 1)];
    all.into_iter().flat_map(|(degree, e)| both(degree, &[2, 5, degree * e], &ones(2, 5))).collect()
}

/// Numbers of frames.
pub fn times() -> Vec<Case> {
    let of =
        |time| [both(2, &[2, time, 8], &ones(2, time)), both(3, &[1, time, 15], &ones(1, time))].concat();
    [1, 2, 31, 32, 33, 130].into_iter().flat_map(of).collect()
}

/// Lengths, and weights of any size.
pub fn masks() -> Vec<Case> {
    let real = Arg::f32(&[2, 70], |i| 0.1 + (i % 7) as f64 * 0.3);
    let late = Arg::f32(&[1, 70], |i| if i < 40 { 0.0 } else { 0.5 });
    [
        both(2, &[4, 70, 8], &mask(70, &[0, 1, 33, 70])),
        both(3, &[3, 9, 6], &mask(9, &[9, 0, 4])),
        both(2, &[2, 70, 8], &real),
        both(2, &[1, 70, 6], &late),
        // Columns of one workgroup that belong to several utterances and chunks.
        both(2, &[3, 65, 74], &mask(65, &[65, 20, 64])),
    ]
    .concat()
}

/// No utterances, no frames.
pub fn nothing() -> Vec<Case> {
    let mut cases = Vec::new();
    for causal in [false, true] {
        for dims in [[0, 3, 8], [2, 0, 8]] {
            let args = [Arg::normal(&dims, 1), ones(dims[0], dims[1])];
            cases.push(Case::forward(PomAggregate::products(2, causal), &args, Tolerance::Exact));
        }
    }
    cases
}

/// Means over 8000 frames.
pub fn long_means() -> Vec<Case> {
    let case = |causal| {
        let p = Arg::f32(&[1, 8000, 8], |i| 1.0 + (i % 13) as f64 * 0.01);
        Case::forward(PomAggregate::products(2, causal), &[p, ones(1, 8000)], Tolerance::Elementwise)
    };
    [false, true].map(case).to_vec()
}

/// Values away from the kink at 0, of magnitude 1 and less.
fn away_from_zero(dims: &[usize]) -> Arg {
    let arg = super::away_from_zero(dims, 6, 0.3, 0.01);
    Arg::f32(dims, |i| arg.at(i).clamp(-1.0, 1.0))
}

/// Means of powers of activations.
pub fn powers() -> Vec<Case> {
    let real = Arg::f32(&[3, 70], |i| if i % 70 < 40 { (i % 5) as f64 * 0.3 } else { 0.0 });
    let kinds: [(usize, ActivationKind); 4] = [(1, Relu), (2, Relu), (3, BoundedLeakyRelu), (8, Gelu)];
    let mut cases = Vec::new();
    for (degree, kind) in kinds {
        for (time, e, mask) in [(1, 5, ones(3, 1)), (33, 4, mask(33, &[33, 0, 7])), (70, 12, real.clone())] {
            for causal in [false, true] {
                let args = [away_from_zero(&[3, time, e]), mask.clone()];
                let op = PomAggregate::powers(degree, causal, kind);
                cases.push(Case::new(op, &args, Tolerance::Accumulated));
            }
        }
    }
    cases
}

/// Frames of weight zero hold whatever they hold.
pub fn ignored_frames() -> Vec<Case> {
    let (mask, p) = (mask(6, &[4, 2]), Arg::normal(&[2, 6, 4], 8));
    let padded = Arg::f32(&[2, 6, 4], |i| if mask.at(i / 4) == 0.0 { 1e30 } else { p.at(i) });
    let case = |causal| {
        let args = [padded.clone(), mask.clone()];
        Case::forward(PomAggregate::products(2, causal), &args, Tolerance::Accumulated)
    };
    [false, true].map(case).to_vec()
}

/// Gates times means.
pub fn select() -> Vec<Case> {
    let mut cases = Vec::new();
    for [batch, time, n] in [[1, 1, 1], [2, 31, 3], [3, 8, 4], [2, 130, 12], [3, 65, 37], [2, 0, 4]] {
        let z = Arg::normal(&[batch, time, n], 2);
        for means in [vec![batch, n], vec![batch, time, n]] {
            cases.push(Case::new(PomSelect, &[z.clone(), Arg::normal(&means, 3)], Tolerance::Accumulated));
        }
    }
    let extreme = Arg::f32(&[1, 2, 4], |i| [-1e30, -100.0, -20.0, -1.0, 1.0, 20.0, 100.0, 1e30][i]);
    cases.push(Case::forward(PomSelect, &[extreme, Arg::normal(&[1, 4], 3)], Tolerance::Elementwise));
    cases
}
