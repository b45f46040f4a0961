use polymix::ops::loss::{Argmax, CrossEntropy, Likely};
use polymix::shape::Spec;
use proptest::prelude::*;

use crate::check::{Arg, Tolerance, cases, check, check_outputs, refuses};

/// Every third target is the row's best class, so that some rows are hits.
fn args(rows: usize, vocab: usize, count: usize) -> [Arg; 3] {
    let logits = Arg::normal(&[rows, vocab], 8);
    let values = logits.values.as_slice().unwrap().to_vec();
    let targets = Arg::u32(&[rows], |row| match row % 3 {
        0 => {
            let own = &values[row * vocab..(row + 1) * vocab];
            (0..vocab).max_by(|&a, &b| own[a].total_cmp(&own[b])).unwrap_or(0) as u32
        }
        _ => (row * 7919 % vocab) as u32,
    });
    [logits, targets, Arg::u32(&[1], |_| count as u32)]
}

#[test]
fn cross_entropy() {
    for (rows, vocab, count) in [
        (1, 1, 1),
        (1, 29, 1),
        (7, 29, 5),
        (9, 8, 9),
        (5, 31, 0),
        (5, 32, 100),
        (67, 257, 66),
        (6, 1024, 4),
        (2, 8192, 2),
        (300, 12, 299),
    ] {
        check(CrossEntropy, &args(rows, vocab, count), Tolerance::Accumulated);
    }
    proptest!(cases(8), |(rows in 1usize..90, vocab in 1usize..80, count in 0usize..100)| {
        check(CrossEntropy, &args(rows, vocab, count), Tolerance::Accumulated);
    });
}

#[test]
fn cross_entropy_edges() {
    for vocab in [8, 9] {
        let [logits, _, count] = args(4, vocab, 4);
        let outside = Arg::u32(&[4], |row| [1, vocab as u32, u32::MAX, 3][row]);
        check(CrossEntropy, &[logits, outside, count], Tolerance::Accumulated);
        // Of equal logits the lowest class is the best one: class 0 in all rows, a hit in rows 0 and 2.
        let equal = Arg::f32(&[4, vocab], |_| 2.5);
        let targets = Arg::u32(&[4], |row| row as u32 % 2);
        let all = Arg::u32(&[1], |_| 4);
        check(CrossEntropy, &[equal, targets.clone(), all.clone()], Tolerance::Accumulated);
        let far = Arg::f32(&[4, vocab], |i| [1e4, -1e4, 9e3, 0.0, 1e4 - 1.0][i % 5]);
        check_outputs(CrossEntropy, &[far, targets, all], Tolerance::Accumulated, 0);
    }
    check_outputs(CrossEntropy, &args(0, 4, 3), Tolerance::Exact, 0);
    check_outputs(CrossEntropy, &args(701, 3, 699), Tolerance::Accumulated, 1);
    refuses(CrossEntropy, &[Spec::f32([3, 4]), Spec::u32([4]), Spec::u32([1])]);
    refuses(CrossEntropy, &[Spec::f32([3, 0]), Spec::u32([3]), Spec::u32([1])]);
    refuses(CrossEntropy, &[Spec::f32([3, 4]), Spec::f32([3]), Spec::u32([1])]);
    refuses(CrossEntropy, &[Spec::f32([3, 4]), Spec::u32([3]), Spec::u32([3])]);
}

#[test]
fn argmax() {
    let shapes: [&[usize]; 8] =
        [&[1], &[3, 1], &[29], &[2, 3, 29], &[70, 33], &[9, 64], &[2, 8192], &[701, 1]];
    for dims in shapes {
        check_outputs(Argmax, &[Arg::normal(dims, 6)], Tolerance::Elementwise, 0);
    }
    for vocab in [1, 5, 8, 9, 64, 100] {
        let ties = Arg::f32(&[11, vocab], |i| (i * 31 % 7) as f64);
        check_outputs(Argmax, &[ties], Tolerance::Elementwise, 0);
        let equal = Arg::f32(&[3, vocab], |_| -2e9);
        check_outputs(Argmax, &[equal], Tolerance::Elementwise, 0);
    }
    check_outputs(Argmax, &[Arg::normal(&[0, 4], 6)], Tolerance::Exact, 0);
    refuses(Argmax, &[Spec::f32([2, 0])]);
    refuses(Argmax, &[Spec::u32([2])]);
}

#[test]
fn likely() {
    for (rows, vocab, least) in [
        (1, 1, -5.0),
        (1, 29, -2.0),
        (3, 63, -3.0),
        (3, 64, -3.0),
        (70, 65, -3.0),
        (2, 5000, -8.0),
        (701, 3, -1.5),
    ] {
        let op = Likely::from(least, vocab);
        check_outputs(op, &[Arg::normal(&[rows, vocab], 6)], Tolerance::Accumulated, 0);
    }
    // Nothing reaches the threshold but the best, of equals the first; large numbers; more than there is room for.
    let op = Likely { least: -0.1, room: 3 };
    check_outputs(op, &[Arg::f32(&[5, 100], |i| (i * 31 % 7) as f64)], Tolerance::Accumulated, 0);
    check_outputs(op, &[Arg::f32(&[3, 9], |_| -2e9)], Tolerance::Accumulated, 0);
    let far = Arg::f32(&[4, 9], |i| [1e4, -1e4, 9e3, 0.0, 1e4 - 1.0][i % 5]);
    check_outputs(Likely { least: -3.0, room: 9 }, &[far], Tolerance::Accumulated, 0);
    check_outputs(Likely { least: -30.0, room: 5 }, &[Arg::normal(&[7, 40], 3)], Tolerance::Accumulated, 0);
    check_outputs(op, &[Arg::normal(&[0, 4], 6)], Tolerance::Exact, 0);
    refuses(op, &[Spec::f32([2, 0])]);
    refuses(op, &[Spec::f32([2])]);
    refuses(op, &[Spec::u32([2, 3])]);
    refuses(op, &[Spec::f32([2, 40_000])]);
    refuses(Likely { least: 0.0, room: 0 }, &[Spec::f32([2, 3])]);
}
