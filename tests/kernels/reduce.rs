use polymix::check::cases;
use polymix::ops::reduce::Sum;
use polymix::shape::Spec;

use crate::check::{each, refuses};

#[test]
fn sum() {
    each(cases::reduce::sum());
    refuses(Sum { first: 1, last: 2 }, &[Spec::f32([4])]);
}
