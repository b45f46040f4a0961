//! One case of each operation at the sizes of models, to time kernels.

use super::{
    Arg, Case, Tolerance, attention, conv, loss, mask, matmul, norm, optimizer, pom, quantizer, random, scan,
};
use crate::ops::attention::Positions;
use crate::ops::conv::{Conv2d, DepthwiseConv1d};
use crate::ops::layout::{Copy, GatherRows, Permute};
use crate::ops::loss::CrossEntropy;
use crate::ops::map::{Activation, ActivationKind, Binary, BinaryKind, Glu};
use crate::ops::mask::MaskFrames;
use crate::ops::matmul::{MatMul, PlannedMatMul};
use crate::ops::norm::{LayerNorm, Softmax};
use crate::ops::optimizer::AdamW;
use crate::ops::pom::{PomAggregate, PomSelect};
use crate::ops::quantizer::NearestCode;
use crate::ops::random::Dropout;
use crate::ops::reduce::Sum;
use crate::ops::scan::SelectiveScan;

/// Large cases, matmuls first.
pub fn large() -> Vec<Case> {
    use Tolerance::{Accumulated, Elementwise, Exact};
    let by_rows = MatMul { transpose_b: true, ..MatMul::PLAIN };
    let factors = [Arg::normal(&[1536, 512], 1), Arg::normal(&[1536, 512], 2)];
    let in_f16 = PlannedMatMul { f16_inputs: true, ..by_rows.into() };
    let rows = || Arg::normal(&[2048, 512], 1);
    let attended = attention::op(4, Positions::Absent);
    let time = 512;
    let lengths = [512, 400];
    vec![
        matmul::matmul(0, [1536, 1536, 512], by_rows),
        // Sizes that no vector divides.
        matmul::matmul(0, [1537, 1537, 511], by_rows),
        Case::forward(in_f16, &factors, Accumulated),
        Case::new(attended, &attention::args(attended, time, 64, &lengths), Accumulated),
        Case::new(LayerNorm { eps: 1e-5 }, &norm::layer_norm_args(&[2048, 512]), Accumulated),
        Case::new(Softmax, &[rows()], Accumulated),
        Case::new(
            PomAggregate::products(2, false),
            &[rows_of(2, time, 512), pom::mask(time, &[512, 400])],
            Accumulated,
        ),
        Case::new(PomSelect, &[rows_of(2, time, 512), Arg::normal(&[2, 512], 3)], Accumulated),
        Case::new(Conv2d, &conv::conv2d_args([2, 128, 40, 16, 32]), Accumulated),
        Case::new(
            DepthwiseConv1d { left: 15 },
            &conv::depthwise_args([time, 256, 31], &lengths),
            Accumulated,
        ),
        Case::new(
            Activation(ActivationKind::Gelu),
            &[super::away_from_zero(&[2048, 512], 3, 3.0, 0.01)],
            Elementwise,
        ),
        Case::new(Binary(BinaryKind::Add), &[rows(), rows()], Elementwise),
        Case::new(Glu, &[rows()], Elementwise),
        Case::new(
            Dropout { probability: 0.1, stream: 5, first: 0 },
            &[rows(), random::rng([1, 2, 3])],
            Elementwise,
        ),
        Case::new(Sum { first: 0, last: 1 }, &[rows()], Accumulated),
        Case::new(CrossEntropy, &loss::cross_entropy_args(512, 1024, 512), Accumulated),
        Case::new(SelectiveScan { reverse: false }, &scan::scan_args([256, 256], &[256, 200]), Accumulated),
        Case::new(MaskFrames, &mask::frames(time, 512, &lengths), Exact),
        Case::forward(NearestCode, &[Arg::normal(&[512, 16], 3), quantizer::codebook(1024, 16, 1024)], Exact),
        Case::forward(
            AdamW { beta1: 0.9, beta2: 0.98, eps: 1e-9 },
            &optimizer::adamw_args(1 << 20, 0.3, 0.0),
            Elementwise,
        ),
        Case::forward(Permute { axes: vec![0, 2, 1, 3] }, &[Arg::normal(&[2, 512, 4, 128], 1)], Exact),
        Case::forward(GatherRows, &[rows(), Arg::u32(&[2048], |i| 2047 - i as u32)], Exact),
        Case::forward(Copy, &[rows()], Exact),
    ]
}

fn rows_of(batch: usize, time: usize, width: usize) -> Arg {
    Arg::normal(&[batch, time, width], 6)
}
