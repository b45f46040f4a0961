//! Cases of copies and views.

use super::{Arg, Case, Tolerance};
use crate::ops::layout::{
    Cast, Concat, Copy, Fill, FromF16, GatherRows, Pad, Permute, ScatterRows, Slice, ToF16,
};

/// All of them.
pub fn all() -> Vec<Case> {
    [permute(), f16(), slice_and_pad(), concat(), rows(), copy_and_fill()].concat()
}

fn u32s(dims: &[usize]) -> Arg {
    Arg::u32(dims, |i| (i as u32).wrapping_mul(2_654_435_761))
}

/// Axes in another order.
pub fn permute() -> Vec<Case> {
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
    let op = |axes: &[usize]| Permute { axes: axes.to_vec() };
    let mut cases = Vec::new();
    for (dims, axes) in permutations {
        cases.push(Case::new(op(axes), &[Arg::normal(dims, 1)], Tolerance::Exact));
        cases.push(Case::forward(op(axes), &[u32s(dims)], Tolerance::Exact));
    }
    for (dims, axes) in [(&[][..], &[][..]), (&[0, 4], &[1, 0]), (&[70_001, 2], &[1, 0])] {
        cases.push(Case::forward(op(axes), &[Arg::normal(dims, 1)], Tolerance::Exact));
    }
    cases
}

/// Values that f16 holds exactly: how others are rounded depends on the adapter.
pub fn f16() -> Vec<Case> {
    let mut cases = Vec::new();
    for elements in [4, 60, 1024, 70_004] {
        let values = |i: usize| [1.0, -0.375, 65504.0, 6.103_515_625e-5, 0.0, -2047.0, 1e30, -7e4][i % 8];
        cases.push(Case::forward(ToF16, &[Arg::f32(&[elements / 4, 4], values)], Tolerance::Exact));
        let words = Arg::u32(&[elements / 2], |i| {
            let half = |i: u32| (i.wrapping_mul(40_503) % 0x7c00) | ((i % 2) << 15);
            half(2 * i as u32) | (half(2 * i as u32 + 1) << 16)
        });
        cases.push(Case::forward(FromF16([2, elements / 2].into()), &[words], Tolerance::Exact));
    }
    cases.push(Case::forward(ToF16, &[Arg::normal(&[0, 3], 1)], Tolerance::Exact));
    cases
}

/// Parts, and what surrounds them.
pub fn slice_and_pad() -> Vec<Case> {
    let slice = |axis, start, len| Slice { axis, start, len };
    let pad = |axis, before, after| Pad { axis, before, after };
    let normal = |dims: &[usize]| [Arg::normal(dims, 2)];
    vec![
        Case::new(slice(1, 8, 12), &normal(&[65, 32]), Tolerance::Exact),
        Case::new(slice(1, 3, 5), &normal(&[7, 9, 5]), Tolerance::Exact),
        Case::new(pad(1, 4, 8), &normal(&[65, 32]), Tolerance::Exact),
        Case::new(pad(0, 1, 5), &normal(&[3, 7, 5]), Tolerance::Exact),
        Case::new(slice(2, 1, 2), &normal(&[2, 3, 4, 2, 3]), Tolerance::Exact),
        Case::forward(slice(0, 1, 2), &[u32s(&[4, 3])], Tolerance::Exact),
        Case::forward(pad(0, 1, 2), &[u32s(&[4, 3])], Tolerance::Exact),
        Case::forward(slice(0, 4, 0), &normal(&[4, 3]), Tolerance::Exact),
        Case::forward(pad(0, 3, 0), &normal(&[0, 3]), Tolerance::Exact),
    ]
}

/// Several tensors in one.
pub fn concat() -> Vec<Case> {
    let groups: [(usize, &[&[usize]]); 6] = [
        (0, &[&[5], &[7]]),
        (1, &[&[3, 4], &[3, 8], &[3, 12]]),
        (1, &[&[3, 5], &[3, 1], &[3, 4]]),
        (0, &[&[2, 3], &[1, 3]]),
        (2, &[&[2, 2, 3, 2], &[2, 2, 1, 2]]),
        (1, &[&[65, 2]]),
    ];
    let case = |(axis, shapes): (usize, &[&[usize]])| {
        let args: Vec<Arg> = (0..).zip(shapes).map(|(seed, dims)| Arg::normal(dims, seed)).collect();
        Case::new(Concat { axis }, &args, Tolerance::Exact)
    };
    let mut cases = groups.map(case).to_vec();
    cases.push(Case::forward(Concat { axis: 0 }, &[u32s(&[3]), u32s(&[0]), u32s(&[6])], Tolerance::Exact));
    cases
}

/// Rows by their numbers.
pub fn rows() -> Vec<Case> {
    let mut cases = Vec::new();
    for width in [1, 3, 8, 65] {
        let index = [4, 1, 9, 0, 6, u32::MAX, 7];
        let index = || Arg::u32(&[7], |i| index[i]);
        let x = || Arg::normal(&[7, width], 3);
        let (twice, none) = (Arg::u32(&[9], |i| i as u32 / 2), Arg::u32(&[0], |_| 0));
        let nothing = Arg::normal(&[0, width], 3);
        cases.extend([
            Case::new(GatherRows, &[x(), index()], Tolerance::Exact),
            Case::new(ScatterRows { rows: 7 }, &[x(), index()], Tolerance::Exact),
            Case::forward(GatherRows, &[u32s(&[7, width]), index()], Tolerance::Exact),
            Case::forward(ScatterRows { rows: 10 }, &[u32s(&[7, width]), index()], Tolerance::Exact),
            Case::forward(GatherRows, &[x(), twice], Tolerance::Exact),
            Case::forward(GatherRows, &[x(), none.clone()], Tolerance::Exact),
            Case::forward(ScatterRows { rows: 3 }, &[nothing, none], Tolerance::Exact),
        ]);
    }
    let far = Arg::u32(&[70_001], |i| 70_000 - i as u32);
    cases.push(Case::new(GatherRows, &[Arg::normal(&[70_001, 1], 3), far], Tolerance::Exact));
    cases
}

/// The same again, and the same everywhere.
pub fn copy_and_fill() -> Vec<Case> {
    let fill =
        |dims: &[usize], value| Case::forward(Fill { shape: dims.into(), value }, &[], Tolerance::Exact);
    let mut cases = Vec::new();
    for size in [1, 4, 63, 64, 65, 1021] {
        cases.push(Case::new(Copy, &[Arg::normal(&[size], 4)], Tolerance::Exact));
        cases.push(Case::forward(Copy, &[u32s(&[size])], Tolerance::Exact));
        cases.push(fill(&[size], -2.5));
    }
    cases.push(Case::forward(Copy, &[Arg::normal(&[4 * 70_001], 4)], Tolerance::Exact));
    cases.extend([fill(&[4, 70_001], 3.0), fill(&[0], 3.0)]);
    for sizes in [&[4][..], &[64, 1028], &[8, 4, 0, 260]] {
        let args: Vec<Arg> = (5..).zip(sizes).map(|(seed, &size)| Arg::normal(&[size], seed)).collect();
        cases.push(Case::forward(Cast, &args, Tolerance::Exact));
    }
    cases
}
