//! Cases of convolutions.

use super::{Arg, Case, Tolerance};
use crate::ops::conv::{Conv2d, DepthwiseConv1d};

/// All of them.
pub fn all() -> Vec<Case> {
    [conv2d(), depthwise_conv1d()].concat()
}

/// The operands of a 2-D convolution.
pub fn conv2d_args([batch, time, frequency, cin, cout]: [usize; 5]) -> [Arg; 3] {
    [
        Arg::normal(&[batch, time, frequency, cin], 1),
        Arg::normal(&[cout, cin, 3, 3], 2),
        Arg::normal(&[cout], 3),
    ]
}

/// 3 by 3, every other frame and band.
pub fn conv2d() -> Vec<Case> {
    let sizes = [
        [1, 2, 2, 1, 1],
        [1, 2, 3, 1, 8],
        [2, 3, 2, 4, 3],
        [2, 5, 7, 3, 5],
        [3, 4, 33, 1, 64],
        [1, 5, 34, 4, 8],
        [1, 4, 31, 5, 4],
        [2, 7, 20, 8, 16],
        [1, 6, 17, 12, 9],
    ];
    let mut cases =
        sizes.map(|sizes| Case::new(Conv2d, &conv2d_args(sizes), Tolerance::Accumulated)).to_vec();
    cases.push(Case::forward(Conv2d, &conv2d_args([0, 4, 4, 1, 8]), Tolerance::Exact));
    cases
}

/// The operands of a depthwise convolution.
pub fn depthwise_args([time, channels, kernel]: [usize; 3], lengths: &[u32]) -> [Arg; 4] {
    [
        Arg::normal(&[lengths.len(), time, channels], 1),
        Arg::normal(&[channels, 1, kernel], 2),
        Arg::normal(&[channels], 3),
        Arg::u32(&[lengths.len()], |i| lengths[i]),
    ]
}

/// Over time, each channel by itself.
pub fn depthwise_conv1d() -> Vec<Case> {
    let all: [([usize; 3], usize, &[u32]); 17] = [
        ([1, 1, 1], 0, &[1]),
        ([1, 3, 31], 15, &[1, 0]),
        ([7, 5, 3], 1, &[7, 0, 3]),
        ([8, 16, 31], 15, &[8, 5]),
        ([9, 4, 7], 3, &[1, 9, 8]),
        ([65, 6, 31], 15, &[65, 64, 30, 0]),
        ([131, 3, 9], 4, &[131]),
        ([17, 65, 5], 2, &[16, 17]),
        // Causal, looking ahead, and neither.
        ([1, 3, 4], 3, &[1, 0]),
        ([19, 5, 4], 3, &[19, 7, 1, 0]),
        ([19, 5, 4], 0, &[19, 7, 1, 0]),
        ([67, 3, 12], 11, &[67, 66]),
        ([67, 3, 12], 8, &[67, 64]),
        // Four channels at a time.
        ([1, 4, 31], 15, &[1, 0]),
        ([33, 8, 5], 4, &[33, 20, 0]),
        ([67, 12, 18], 0, &[67, 17, 16]),
        ([130, 4, 12], 8, &[130, 64]),
    ];
    let case = |(sizes, left, lengths)| {
        Case::new(DepthwiseConv1d { left }, &depthwise_args(sizes, lengths), Tolerance::Accumulated)
    };
    let mut cases = all.map(case).to_vec();
    let nothing = depthwise_args([4, 4, 3], &[]);
    cases.push(Case::forward(DepthwiseConv1d { left: 1 }, &nothing, Tolerance::Exact));
    cases
}
