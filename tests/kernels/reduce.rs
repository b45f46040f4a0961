use polymix::ops::reduce::Sum;
use polymix::shape::Spec;

use crate::check::{Arg, Tolerance, check, check_outputs, refuses};

#[test]
fn sum() {
    for (dims, first, last) in [
        (&[1][..], 0, 1),
        (&[7, 13], 0, 1),
        (&[7, 13], 1, 2),
        (&[3, 65, 5], 1, 2),
        (&[3, 65, 5], 0, 2),
        (&[2, 4097, 3], 1, 2),
    ] {
        check(Sum { first, last }, &[Arg::normal(dims, 9)], Tolerance::Accumulated);
    }
    check_outputs(Sum { first: 0, last: 1 }, &[Arg::normal(&[0, 5], 9)], Tolerance::Exact, 0);
    refuses(Sum { first: 1, last: 2 }, &[Spec::f32([4])]);
}
