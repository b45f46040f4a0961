use polymix::check::cases::quantizer;
use polymix::ops::Op;
use polymix::ops::quantizer::NearestCode;
use polymix::shape::Spec;

use crate::check::{Arg, each, refuses};

#[test]
fn nearest_code() {
    each(quantizer::nearest_code());
}

#[test]
fn ties_take_the_lowest_code() {
    each(quantizer::ties());
    let args = [Arg::normal(&[33, 16], 3), quantizer::codebook(1024, 16, 128)];
    let ids = NearestCode.reference(&[&args[0].values, &args[1].values]);
    assert!(ids[0].iter().all(|&id| id < 128.0));
}

#[test]
fn the_length_of_a_row_does_not_matter() {
    let x = Arg::normal(&[40, 16], 3);
    let book = quantizer::codebook(300, 16, 300);
    let ids = NearestCode.reference(&[&x.values, &book.values]).swap_remove(0);
    for scale in [1e-12, 1e12] {
        let scaled = Arg::f32(&[40, 16], |i| scale * x.at(i));
        assert_eq!(NearestCode.reference(&[&scaled.values, &book.values])[0], ids);
    }
    each(quantizer::sizes());
}

#[test]
fn nearest_code_refuses() {
    refuses(NearestCode, &[Spec::f32([4, 16]), Spec::f32([8, 12])]);
    refuses(NearestCode, &[Spec::f32([4, 16]), Spec::f32([0, 16])]);
    refuses(NearestCode, &[Spec::f32([16]), Spec::f32([8, 16])]);
}
