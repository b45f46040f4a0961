use polymix::graph::{Graph, Tensor};
use polymix::ops::layout::{
    Concat, Copy, Fill, FromHalf, GatherRows, Pad, Permute, ScatterRows, Slice, ToHalf,
};
use polymix::shape::Spec;
use proptest::prelude::*;

use crate::check::{Arg, Tolerance, cases, check, check_outputs, refuses};

fn u32s(dims: &[usize]) -> Arg {
    Arg::u32(dims, |i| (i as u32).wrapping_mul(2_654_435_761))
}

#[test]
fn permute() {
    let permutations: [(&[usize], &[usize]); 10] = [
        (&[1], &[0]),
        (&[67, 31], &[1, 0]),
        (&[64, 8], &[1, 0]),
        (&[3, 5, 7], &[2, 0, 1]),
        (&[3, 5, 8], &[1, 0, 2]),
        (&[2, 3, 4, 5], &[3, 2, 1, 0]),
        (&[2, 3, 4, 5], &[0, 2, 1, 3]),
        (&[2, 3, 5, 12], &[0, 2, 1, 3]),
        (&[2, 3, 4, 5], &[1, 3, 0, 2]),
        (&[1, 7, 1, 4], &[3, 0, 1, 2]),
    ];
    for (dims, axes) in permutations {
        check(Permute { axes: axes.to_vec() }, &[Arg::normal(dims, 1)], Tolerance::Exact);
        check_outputs(Permute { axes: axes.to_vec() }, &[u32s(dims)], Tolerance::Exact, 0);
    }
    check_outputs(Permute { axes: vec![] }, &[Arg::normal(&[], 1)], Tolerance::Exact, 0);
    check_outputs(Permute { axes: vec![1, 0] }, &[Arg::normal(&[0, 4], 1)], Tolerance::Exact, 0);
    check_outputs(Permute { axes: vec![1, 0] }, &[Arg::normal(&[70_001, 2], 1)], Tolerance::Exact, 0);
    refuses(Permute { axes: vec![0, 0] }, &[Spec::f32([2, 3])]);
    refuses(Permute { axes: vec![0, 2] }, &[Spec::f32([2, 3])]);
    refuses(Permute { axes: vec![0] }, &[Spec::f32([2, 3])]);
    refuses(Permute { axes: vec![0, 1, 2, 3, 4] }, &[Spec::f32([1; 5])]);
}

#[test]
fn transpose_swaps_the_last_two_axes() {
    let graph = Graph::new();
    let x = graph.input("x", Spec::f32([2, 3, 5]));
    assert_eq!(x.transpose().unwrap().dims(), [2, 5, 3]);
    assert!(graph.input("v", Spec::f32([3])).transpose().is_err());
}

/// Halves that are exact: how others are rounded is the adapter's affair.
#[test]
fn halves() {
    for elements in [4, 60, 1024, 70_004] {
        let values = |i: usize| [1.0, -0.375, 65504.0, 6.103_515_625e-5, 0.0, -2047.0, 1e30, -7e4][i % 8];
        check_outputs(ToHalf, &[Arg::f32(&[elements / 4, 4], values)], Tolerance::Exact, 0);
        let words = Arg::u32(&[elements / 2], |i| {
            let half = |i: u32| (i.wrapping_mul(40_503) % 0x7c00) | ((i % 2) << 15);
            half(2 * i as u32) | (half(2 * i as u32 + 1) << 16)
        });
        check_outputs(FromHalf([2, elements / 2].into()), &[words], Tolerance::Exact, 0);
    }
    check_outputs(ToHalf, &[Arg::normal(&[0, 3], 1)], Tolerance::Exact, 0);
    refuses(ToHalf, &[Spec::f32([2, 3])]);
    refuses(ToHalf, &[Spec::u32([4])]);
    refuses(FromHalf([8].into()), &[Spec::u32([3])]);
    refuses(FromHalf([8].into()), &[Spec::f32([4])]);
}

#[test]
fn slice_and_pad() {
    proptest!(cases(24), |(
        a in 1usize..5, b in 1usize..9, c in 1usize..9, axis in 0usize..3,
        before in 0usize..6, after in 0usize..6,
    )| {
        let dims = [a, b, c];
        check(Pad { axis, before, after }, &[Arg::normal(&dims, 2)], Tolerance::Exact);
        let mut whole = dims;
        whole[axis] += before + after;
        let slice = Slice { axis, start: before, len: dims[axis] };
        check(slice, &[Arg::normal(&whole, 2)], Tolerance::Exact);
    });
    check(Slice { axis: 1, start: 8, len: 12 }, &[Arg::normal(&[65, 32], 2)], Tolerance::Exact);
    check(Pad { axis: 1, before: 4, after: 8 }, &[Arg::normal(&[65, 32], 2)], Tolerance::Exact);
    check(Slice { axis: 2, start: 1, len: 2 }, &[Arg::normal(&[2, 3, 4, 2, 3], 2)], Tolerance::Exact);
    check_outputs(Slice { axis: 0, start: 1, len: 2 }, &[u32s(&[4, 3])], Tolerance::Exact, 0);
    check_outputs(Pad { axis: 0, before: 1, after: 2 }, &[u32s(&[4, 3])], Tolerance::Exact, 0);
    check_outputs(Slice { axis: 0, start: 4, len: 0 }, &[Arg::normal(&[4, 3], 2)], Tolerance::Exact, 0);
    check_outputs(Pad { axis: 0, before: 3, after: 0 }, &[Arg::normal(&[0, 3], 2)], Tolerance::Exact, 0);
    refuses(Slice { axis: 0, start: 3, len: 2 }, &[Spec::f32([4, 3])]);
    refuses(Slice { axis: 0, start: usize::MAX, len: 2 }, &[Spec::f32([4, 3])]);
    refuses(Slice { axis: 2, start: 0, len: 0 }, &[Spec::f32([4, 3])]);
    refuses(Pad { axis: 2, before: 0, after: 0 }, &[Spec::f32([4, 3])]);
}

#[test]
fn concat() {
    let groups: [(usize, &[&[usize]]); 6] = [
        (0, &[&[5], &[7]]),
        (1, &[&[3, 4], &[3, 8], &[3, 12]]),
        (1, &[&[3, 5], &[3, 1], &[3, 4]]),
        (0, &[&[2, 3], &[1, 3]]),
        (2, &[&[2, 2, 3, 2], &[2, 2, 1, 2]]),
        (1, &[&[65, 2]]),
    ];
    for (axis, shapes) in groups {
        let args: Vec<Arg> = shapes.iter().enumerate().map(|(i, dims)| Arg::normal(dims, i as u32)).collect();
        check(Concat { axis }, &args, Tolerance::Exact);
    }
    check_outputs(Concat { axis: 0 }, &[u32s(&[3]), u32s(&[0]), u32s(&[6])], Tolerance::Exact, 0);
    refuses(Concat { axis: 0 }, &[]);
    refuses(Concat { axis: 0 }, &[Spec::f32([2, 3]), Spec::f32([2, 4])]);
    refuses(Concat { axis: 0 }, &[Spec::f32([2]), Spec::u32([2])]);
    refuses(Concat { axis: 1 }, &[Spec::f32([2, 3]), Spec::f32([2])]);
    refuses(Concat { axis: 2 }, &[Spec::f32([2, 3])]);
    assert!(Tensor::concat(&[], 0).is_err());
}

#[test]
fn gather_and_scatter_rows() {
    for width in [1, 3, 8, 65] {
        let index = [4, 1, 9, 0, 6, u32::MAX, 7];
        let index = || Arg::u32(&[7], |i| index[i]);
        check(GatherRows, &[Arg::normal(&[7, width], 3), index()], Tolerance::Exact);
        check(ScatterRows { rows: 7 }, &[Arg::normal(&[7, width], 3), index()], Tolerance::Exact);
        check_outputs(GatherRows, &[u32s(&[7, width]), index()], Tolerance::Exact, 0);
        check_outputs(ScatterRows { rows: 10 }, &[u32s(&[7, width]), index()], Tolerance::Exact, 0);
        let twice = Arg::u32(&[9], |i| i as u32 / 2);
        check_outputs(GatherRows, &[Arg::normal(&[7, width], 3), twice], Tolerance::Exact, 0);
        let none = Arg::u32(&[0], |_| 0);
        check_outputs(GatherRows, &[Arg::normal(&[7, width], 3), none.clone()], Tolerance::Exact, 0);
        check_outputs(ScatterRows { rows: 3 }, &[Arg::normal(&[0, width], 3), none], Tolerance::Exact, 0);
    }
    let far = Arg::u32(&[70_001], |i| 70_000 - i as u32);
    check_outputs(GatherRows, &[Arg::normal(&[70_001, 1], 3), far], Tolerance::Exact, 1);
    refuses(GatherRows, &[Spec::f32([2, 3]), Spec::f32([2])]);
    refuses(GatherRows, &[Spec::f32([6]), Spec::u32([2])]);
    refuses(ScatterRows { rows: 4 }, &[Spec::f32([2, 3]), Spec::u32([3])]);
}

#[test]
fn copy_and_fill() {
    for size in [1, 4, 63, 64, 65, 1021] {
        check(Copy, &[Arg::normal(&[size], 4)], Tolerance::Exact);
        check_outputs(Copy, &[u32s(&[size])], Tolerance::Exact, 0);
        check_outputs(Fill { shape: [size].into(), value: -2.5 }, &[], Tolerance::Exact, 0);
    }
    check_outputs(Copy, &[Arg::normal(&[4 * 70_001], 4)], Tolerance::Exact, 0);
    check_outputs(Fill { shape: [4, 70_001].into(), value: 3.0 }, &[], Tolerance::Exact, 0);
    check_outputs(Fill { shape: [0].into(), value: 3.0 }, &[], Tolerance::Exact, 0);
    refuses(Copy, &[]);
    refuses(Fill { shape: [1].into(), value: 0.0 }, &[Spec::f32([1])]);
    assert_eq!(Graph::new().fill([2, 3], 1.0).unwrap().dims(), [2, 3]);
}
