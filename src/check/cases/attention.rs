//! Cases of attention.

use super::{Arg, Case, Tolerance};
use crate::ops::attention::{Attention, Positions, QkvLayout};

const POSITIONS: [Positions; 3] = [Positions::Absent, Positions::Rotary, Positions::Relative];

/// All of them.
pub fn all() -> Vec<Case> {
    [
        one_frame(),
        times_around_the_tiles(),
        columns_of_a_head(),
        lengths(),
        wide_heads(),
        nothing(),
        large_scores(),
    ]
    .concat()
}

/// Attention of so many heads; both packings of the projection are used with all positions.
pub fn op(heads: usize, positions: Positions) -> Attention {
    let layout = if heads % 2 == 1 { QkvLayout::HeadMajor } else { QkvLayout::PartMajor };
    Attention { heads, layout, positions, scale: 0.6 }
}

/// The operands for heads of `columns`, with `lengths` valid keys.
pub fn args(op: Attention, time: usize, columns: usize, lengths: &[u32]) -> Vec<Arg> {
    let width = op.heads * columns;
    let mut args = vec![
        Arg::normal(&[lengths.len(), time, 3 * width], 1),
        Arg::u32(&[lengths.len()], |utterance| lengths[utterance]),
    ];
    match op.positions {
        Positions::Absent => {}
        // Sines and cosines in turns.
        Positions::Rotary => args.push(Arg::f32(&[time, columns], |i| {
            let (t, column) = (i / columns, i % columns);
            let angle = t as f64 / 10_000_f64.powf((column / 2 * 2) as f64 / columns as f64);
            if column.is_multiple_of(2) { angle.sin() } else { angle.cos() }
        })),
        Positions::Relative => {
            args.push(Arg::normal(&[time, width], 2));
            args.push(Arg::normal(&[2, op.heads, columns], 3));
        }
    }
    args
}

/// With every kind of positions that heads of so many columns can have.
pub fn all_positions(heads: usize, time: usize, columns: usize, lengths: &[u32]) -> Vec<Case> {
    let can = |positions: &Positions| *positions != Positions::Rotary || columns.is_multiple_of(2);
    let case = |positions| {
        let op = op(heads, positions);
        Case::new(op, &args(op, time, columns, lengths), Tolerance::Accumulated)
    };
    POSITIONS.into_iter().filter(can).map(case).collect()
}

/// One frame.
pub fn one_frame() -> Vec<Case> {
    [all_positions(1, 1, 1, &[1]), all_positions(2, 1, 4, &[1, 0])].concat()
}

/// Frames that fill tiles, and one more or less.
pub fn times_around_the_tiles() -> Vec<Case> {
    let small = [2, 17, 31, 32, 33].into_iter().flat_map(|time| all_positions(1, time, 4, &[time as u32]));
    let large = [63, 64, 65, 131].into_iter().flat_map(|time| all_positions(1, time, 2, &[time as u32]));
    small.chain(large).collect()
}

/// Head dimensions that are multiples of 4 and others.
pub fn columns_of_a_head() -> Vec<Case> {
    [2, 3, 5, 6, 8, 16, 18, 20].into_iter().flat_map(|columns| all_positions(2, 9, columns, &[9])).collect()
}

/// Utterances of several lengths.
pub fn lengths() -> Vec<Case> {
    [4, 6].into_iter().flat_map(|columns| all_positions(3, 70, columns, &[70, 0, 1, 33, 64, 65])).collect()
}

/// With short loops, the walk is cut into several dispatches.
pub fn wide_heads() -> Vec<Case> {
    all_positions(1, 450, 128, &[449])
}

/// No utterances, no frames, no keys.
pub fn nothing() -> Vec<Case> {
    let all = |positions| {
        let op = op(2, positions);
        [
            Case::forward(op, &args(op, 3, 4, &[]), Tolerance::Exact),
            Case::forward(op, &args(op, 0, 4, &[0, 0]), Tolerance::Exact),
            Case::new(op, &args(op, 4, 4, &[0, 0]), Tolerance::Exact),
        ]
    };
    POSITIONS.into_iter().flat_map(all).collect()
}

/// Scores that exponentials of f32 do not reach, and keys behind the length, which are not read.
pub fn large_scores() -> Vec<Case> {
    let plain = op(1, Positions::Absent);
    let projection = |sign: f64| {
        Arg::f32(&[1, 70, 12], |i| match i % 12 {
            0..4 => 40.0 * sign,
            4..8 => 40.0,
            _ => (i / 12) as f64 * 0.1,
        })
    };
    let large = |sign| {
        let args = [projection(sign), Arg::u32(&[1], |_| 66)];
        Case::forward(plain, &args, Tolerance::Accumulated)
    };
    let mut cases = [1.0, -1.0].map(large).to_vec();
    for positions in POSITIONS {
        let op = op(1, positions);
        let mut operands = args(op, 40, 4, &[7, 33]);
        let keys = |i: usize| i % 12 >= 4 && i / 12 % 40 >= [7, 33][i / 480];
        operands[0] = Arg::f32(&[2, 40, 12], |i| if keys(i) { 1e30 } else { (i % 13) as f64 * 0.1 });
        cases.push(Case::forward(op, &operands, Tolerance::Accumulated));
    }
    cases
}
