//! Cases of dropout and noise.

use super::{Arg, Case, Tolerance};
use crate::ops::random::{Dropout, MaskedNoise};

/// All of them.
pub fn all() -> Vec<Case> {
    [same_words(), dropout(), masked_noise()].concat()
}

/// The words that draws follow from.
pub fn rng(words: [u32; 3]) -> Arg {
    Arg::u32(&[3], |i| words[i])
}

/// At p = 1/2 the scale is exact, and so is every output: the kernel draws the same words.
pub fn same_words() -> Vec<Case> {
    let mut cases = Vec::new();
    for (size, words) in
        [(1, [0, 0, 0]), (2, [1, 2, 3]), (63, [7, 0, 1]), (1027, [u32::MAX, 0x9E37_79B9, 0xFFFF])]
    {
        for stream in [0, 0xDEAD_BEEF] {
            let op = Dropout { probability: 0.5, stream, first: 0 };
            cases.push(Case::new(op, &[Arg::normal(&[size], 1), rng(words)], Tolerance::Exact));
        }
    }
    cases
}

/// Other probabilities, nothing, and parts of a tensor.
pub fn dropout() -> Vec<Case> {
    let of = |probability| {
        let op = Dropout { probability, stream: 5, first: 0 };
        Case::new(op, &[Arg::normal(&[3, 41, 7], 1), rng([1, 2, 3])], Tolerance::Elementwise)
    };
    let mut cases = [0.0, 0.1, 0.15, 0.9, 0.999].map(of).to_vec();
    let op = Dropout { probability: 0.1, stream: 5, first: 0 };
    cases.push(Case::forward(op, &[Arg::normal(&[0, 7], 1), rng([1, 2, 3])], Tolerance::Exact));
    let x = Arg::normal(&[40], 2);
    for (first, size) in [(0, 40), (4, 9), (12, 28), (36, 4)] {
        let op = Dropout { probability: 0.3, stream: 6, first };
        let part = Arg::f32(&[size], |i| x.at(first + i));
        cases.push(Case::new(op, &[part, rng([4, 5, 6])], Tolerance::Elementwise));
    }
    cases
}

/// Masked frames.
pub fn masked_noise() -> Vec<Case> {
    let mut cases = Vec::new();
    for (batch, positions, bands, stack) in [(1, 1, 1, 1), (2, 3, 5, 4), (3, 9, 80, 4), (2, 65, 7, 1)] {
        for std in [0.1, 1.0] {
            let args = [
                Arg::normal(&[batch, positions * stack, bands], 1),
                Arg::u32(&[positions], |i| u32::from(i % 3 != 1)),
                rng([3, 1, 4]),
            ];
            let op = MaskedNoise { std, stream: 9, stack };
            cases.push(Case::forward(op, &args, Tolerance::Elementwise));
        }
    }
    cases
}
