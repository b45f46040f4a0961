use polymix::check::cases::loss;
use polymix::ops::loss::{AngularMargin, Argmax, CrossEntropy, Likely};
use polymix::shape::Spec;
use proptest::prelude::*;

use crate::check::{Tolerance, cases, check, each, refuses};

#[test]
fn cross_entropy() {
    each(loss::cross_entropy());
    proptest!(cases(8), |(rows in 1usize..90, vocab in 1usize..80, count in 0usize..100)| {
        check(CrossEntropy, &loss::cross_entropy_args(rows, vocab, count), Tolerance::Accumulated);
    });
}

#[test]
fn cross_entropy_edges() {
    each(loss::cross_entropy_edges());
    refuses(CrossEntropy, &[Spec::f32([3, 4]), Spec::u32([4]), Spec::u32([1])]);
    refuses(CrossEntropy, &[Spec::f32([3, 0]), Spec::u32([3]), Spec::u32([1])]);
    refuses(CrossEntropy, &[Spec::f32([3, 4]), Spec::f32([3]), Spec::u32([1])]);
    refuses(CrossEntropy, &[Spec::f32([3, 4]), Spec::u32([3]), Spec::u32([3])]);
}

#[test]
fn argmax() {
    each(loss::argmax());
    refuses(Argmax, &[Spec::f32([2, 0])]);
    refuses(Argmax, &[Spec::u32([2])]);
}

#[test]
fn likely() {
    each(loss::likely());
    let op = Likely { least: -0.1, room: 3 };
    refuses(op, &[Spec::f32([2, 0])]);
    refuses(op, &[Spec::f32([2])]);
    refuses(op, &[Spec::u32([2, 3])]);
    refuses(op, &[Spec::f32([2, 40_000])]);
    refuses(Likely { least: 0.0, room: 0 }, &[Spec::f32([2, 3])]);
}

#[test]
fn angular_margin() {
    each(loss::angular_margin());
    refuses(AngularMargin { margin: 0.2 }, &[Spec::f32([3, 4]), Spec::u32([4])]);
    refuses(AngularMargin { margin: 0.2 }, &[Spec::f32([3, 0]), Spec::u32([3])]);
    refuses(AngularMargin { margin: 0.2 }, &[Spec::f32([3, 4]), Spec::f32([3])]);
}
