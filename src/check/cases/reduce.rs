//! Cases of sums.

use super::{Arg, Case, Tolerance};
use crate::ops::reduce::Sum;

/// All of them.
pub fn all() -> Vec<Case> {
    sum()
}

/// Over leading, middle and last axes.
pub fn sum() -> Vec<Case> {
    let all: [(&[usize], usize, usize); 8] = [
        (&[1], 0, 1),
        (&[7, 13], 0, 1),
        (&[7, 13], 1, 2),
        (&[3, 65, 5], 1, 2),
        (&[3, 65, 5], 0, 2),
        (&[2, 4097, 3], 1, 2),
        (&[2, 200, 8], 1, 2),
        (&[4099, 12], 0, 1),
    ];
    let case =
        |(dims, first, last)| Case::new(Sum { first, last }, &[Arg::normal(dims, 9)], Tolerance::Accumulated);
    let mut cases = all.map(case).to_vec();
    let nothing = [Arg::normal(&[0, 5], 9)];
    cases.push(Case::forward(Sum { first: 0, last: 1 }, &nothing, Tolerance::Exact));
    cases
}
