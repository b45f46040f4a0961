use polymix::check::cases::mask;
use polymix::ops::mask::{MaskFrames, MaskWeights};
use polymix::shape::Spec;
use proptest::prelude::*;

use crate::check::{Tolerance, cases, check, each, refuses};

#[test]
fn mask_frames() {
    each(mask::mask_frames());
    refuses(MaskFrames, &[Spec::f32([2, 3, 4]), Spec::u32([3])]);
    refuses(MaskFrames, &[Spec::f32([2, 3]), Spec::u32([2])]);
}

#[test]
fn mask_frames_any_shape() {
    proptest!(cases(6), |(time in 1usize..70, channels in 1usize..9, lengths in prop::collection::vec(0u32..90, 1..4))| {
        check(MaskFrames, &mask::frames(time, channels, &lengths), Tolerance::Exact);
    });
}

#[test]
fn mask_weights() {
    each(mask::mask_weights());
    refuses(MaskWeights { causal: false }, &[Spec::u32([3])]);
    refuses(MaskWeights { causal: false }, &[Spec::f32([])]);
}
