use polymix::ops::mask::{MaskFrames, MaskWeights};
use polymix::shape::Spec;
use proptest::prelude::*;

use crate::check::{Arg, Tolerance, cases, check, check_outputs, refuses};

fn frames(time: usize, channels: usize, lengths: &[u32]) -> [Arg; 2] {
    let batch = lengths.len();
    [Arg::normal(&[batch, time, channels], 1), Arg::u32(&[batch], |i| lengths[i])]
}

#[test]
fn mask_frames() {
    for (time, channels, lengths) in
        [(1, 1, &[1][..]), (1, 5, &[0]), (7, 3, &[0, 7, 4]), (64, 5, &[63, 64, 1])]
    {
        check(MaskFrames, &frames(time, channels, lengths), Tolerance::Exact);
    }
    check_outputs(MaskFrames, &frames(4, 3, &[]), Tolerance::Exact, 0);
    refuses(MaskFrames, &[Spec::f32([2, 3, 4]), Spec::u32([3])]);
    refuses(MaskFrames, &[Spec::f32([2, 3]), Spec::u32([2])]);
}

#[test]
fn mask_frames_any_shape() {
    proptest!(cases(6), |(time in 1usize..70, channels in 1usize..9, lengths in prop::collection::vec(0u32..90, 1..4))| {
        check(MaskFrames, &frames(time, channels, &lengths), Tolerance::Exact);
    });
}

#[test]
fn mask_weights() {
    let mask = |dims: &[usize]| {
        let time = *dims.last().unwrap();
        // Rows of real weights, whole ones, late ones and none at all.
        Arg::f32(dims, |i| match i / time % 4 {
            0 => 0.1 + (i % 7) as f64 * 0.3,
            1 => 1.0,
            2 => f64::from(u8::from(i % time > time / 2)),
            _ => 0.0,
        })
    };
    for dims in [&[1][..], &[4, 1], &[4, 31], &[4, 64], &[2, 5, 67], &[3, 0], &[0, 3]] {
        for causal in [false, true] {
            check_outputs(MaskWeights { causal }, &[mask(dims)], Tolerance::Elementwise, 0);
        }
    }
    refuses(MaskWeights { causal: false }, &[Spec::u32([3])]);
    refuses(MaskWeights { causal: false }, &[Spec::f32([])]);
}
