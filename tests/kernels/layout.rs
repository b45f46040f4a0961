use polymix::check::cases::layout;
use polymix::graph::{Graph, Tensor};
use polymix::ops::layout::{
    Concat, Copy, Fill, FromF16, GatherRows, Pad, Permute, ScatterRows, Slice, ToF16,
};
use polymix::shape::Spec;
use proptest::prelude::*;

use crate::check::{Arg, Tolerance, cases, check, each, refuses};

#[test]
fn permute() {
    each(layout::permute());
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

#[test]
fn f16_values() {
    each(layout::f16());
    refuses(ToF16, &[Spec::f32([2, 3])]);
    refuses(ToF16, &[Spec::u32([4])]);
    refuses(FromF16([8].into()), &[Spec::u32([3])]);
    refuses(FromF16([8].into()), &[Spec::f32([4])]);
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
    each(layout::slice_and_pad());
    refuses(Slice { axis: 0, start: 3, len: 2 }, &[Spec::f32([4, 3])]);
    refuses(Slice { axis: 0, start: usize::MAX, len: 2 }, &[Spec::f32([4, 3])]);
    refuses(Slice { axis: 2, start: 0, len: 0 }, &[Spec::f32([4, 3])]);
    refuses(Pad { axis: 2, before: 0, after: 0 }, &[Spec::f32([4, 3])]);
}

#[test]
fn concat() {
    each(layout::concat());
    refuses(Concat { axis: 0 }, &[]);
    refuses(Concat { axis: 0 }, &[Spec::f32([2, 3]), Spec::f32([2, 4])]);
    refuses(Concat { axis: 0 }, &[Spec::f32([2]), Spec::u32([2])]);
    refuses(Concat { axis: 1 }, &[Spec::f32([2, 3]), Spec::f32([2])]);
    refuses(Concat { axis: 2 }, &[Spec::f32([2, 3])]);
    assert!(Tensor::concat(&[], 0).is_err());
}

#[test]
fn gather_and_scatter_rows() {
    each(layout::rows());
    refuses(GatherRows, &[Spec::f32([2, 3]), Spec::f32([2])]);
    refuses(GatherRows, &[Spec::f32([6]), Spec::u32([2])]);
    refuses(ScatterRows { rows: 4 }, &[Spec::f32([2, 3]), Spec::u32([3])]);
}

#[test]
fn copy_and_fill() {
    each(layout::copy_and_fill());
    refuses(Copy, &[]);
    refuses(Fill { shape: [1].into(), value: 0.0 }, &[Spec::f32([1])]);
    assert_eq!(Graph::new().fill([2, 3], 1.0).unwrap().dims(), [2, 3]);
}
