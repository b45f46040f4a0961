use polymix::check::cases::random::{self, rng};
use polymix::ops::Op;
use polymix::ops::random::{Dropout, MaskedNoise};
use polymix::shape::Spec;

use crate::check::{Arg, each, refuses};

/// At p = 1/2 the scale is exact, and so is every output: the kernel draws Rust's words.
#[test]
fn dropout_draws_the_same_words() {
    each(random::same_words());
}

#[test]
fn dropout() {
    each(random::dropout());
    let op = Dropout { probability: 0.1, stream: 5, first: 0 };
    refuses(op, &[Spec::f32([4]), Spec::u32([2])]);
    for probability in [1.0, -0.1, f32::NAN] {
        refuses(Dropout { probability, stream: 5, first: 0 }, &[Spec::f32([4]), Spec::u32([3])]);
    }
}

/// A part of a tensor is dropped as the whole is.
#[test]
fn dropout_of_parts() {
    let whole = Dropout { probability: 0.3, stream: 6, first: 0 };
    let rng = rng([4, 5, 6]);
    let x = Arg::normal(&[40], 2);
    let all = whole.reference(&[&x.values, &rng.values]).remove(0);
    for (first, size) in [(0, 40), (4, 9), (12, 28), (36, 4)] {
        let op = Dropout { first, ..whole };
        let part = Arg::f32(&[size], |i| x.values[[first + i]]);
        let y = op.reference(&[&part.values, &rng.values]).remove(0);
        assert!(y.iter().zip(all.iter().skip(first)).all(|(y, all)| y == all), "from {first}");
    }
    refuses(Dropout { first: 6, ..whole }, &[Spec::f32([4]), Spec::u32([3])]);
}

/// The rate, and that every word of the key changes the draw.
#[test]
fn dropout_rate() {
    let size = 40_000;
    let ones = Arg::f32(&[size], |_| 1.0).values;
    let mut draws = Vec::new();
    for (words, stream) in [([1, 2, 3], 4), ([2, 2, 3], 4), ([1, 3, 3], 4), ([1, 2, 4], 4), ([1, 2, 3], 5)] {
        let y =
            Dropout { probability: 0.1, stream, first: 0 }.reference(&[&ones, &rng(words).values]).remove(0);
        let rate = y.iter().filter(|&&y| y == 0.0).count() as f64 / size as f64;
        assert!((rate - 0.1).abs() < 0.0075, "5 standard deviations are 0.0075: {rate}");
        assert!((y.sum() / size as f64 - 1.0).abs() < 0.01);
        draws.push(y);
    }
    for draw in &draws[1..] {
        let both = draw.iter().zip(&draws[0]).filter(|(a, b)| **a == 0.0 && **b == 0.0).count();
        assert!((both as f64 / size as f64 - 0.01).abs() < 0.0025, "draws are independent: {both}");
    }
}

#[test]
fn masked_noise() {
    each(random::masked_noise());
    let op = MaskedNoise { std: 0.1, stream: 9, stack: 4 };
    refuses(op, &[Spec::f32([2, 8, 5]), Spec::u32([3]), Spec::u32([3])]);
    refuses(op, &[Spec::f32([2, 9, 5]), Spec::u32([2]), Spec::u32([3])]);
    refuses(MaskedNoise { stack: 0, ..op }, &[Spec::f32([2, 0, 5]), Spec::u32([2]), Spec::u32([3])]);
}

/// Masked frames are normal with the standard deviation asked for, utterance by utterance; others are copies.
#[test]
fn masked_noise_statistics() {
    let x = Arg::f32(&[2, 400, 80], |_| 7.0);
    let mask = Arg::u32(&[100], |i| u32::from(i % 2 == 0));
    let op = MaskedNoise { std: 0.1, stream: 1, stack: 4 };
    let y = op.reference(&[&x.values, &mask.values, &rng([1, 2, 3]).values]).remove(0);
    let noise: Vec<f64> = y.iter().copied().filter(|&y| y != 7.0).map(|y| y / 0.1).collect();
    assert_eq!(noise.len(), 2 * 200 * 80);
    let moment = |power: i32| noise.iter().map(|n| n.powi(power)).sum::<f64>() / noise.len() as f64;
    assert!(moment(1).abs() < 0.03 && (moment(2) - 1.0).abs() < 0.04, "{} {}", moment(1), moment(2));
    assert!(moment(3).abs() < 0.1 && (moment(4) - 3.0).abs() < 0.3, "{} {}", moment(3), moment(4));
    assert!(y[[0, 0, 0]] != y[[1, 0, 0]] && y[[0, 4, 0]] == 7.0);
}
