//! Cases of elementwise operations.

use super::{Arg, Case, Tolerance};
use crate::ops::finish::{Finish, Other, Role};
use crate::ops::map::{Activation, ActivationKind, Affine, Binary, BinaryKind, Chain, Glu, Root};
use crate::ops::random::Dropout;

/// All of them.
pub fn all() -> Vec<Case> {
    [activation(), affine(), binary_broadcast(), chain(), glu(), root()].concat()
}

const KINDS: [ActivationKind; 8] = [
    ActivationKind::Gelu,
    ActivationKind::Silu,
    ActivationKind::Relu,
    ActivationKind::LeakyRelu,
    ActivationKind::Sigmoid,
    ActivationKind::BoundedLeakyRelu,
    ActivationKind::HardSigmoid,
    ActivationKind::Softplus,
];

/// Every activation, away from the kink at 0.
pub fn activation() -> Vec<Case> {
    let mut cases = Vec::new();
    for kind in KINDS {
        for size in [1, 7, 63, 64, 65, 256, 1021] {
            let x = super::away_from_zero(&[size], 3, 3.0, 0.01);
            cases.push(Case::new(Activation(kind), &[x], Tolerance::Elementwise));
        }
        let extreme = [-1e30, -100.0, -20.0, -5.0, 5.0, 20.0, 100.0, 1e30];
        let x = Arg::f32(&[8], |i| extreme[i]);
        cases.push(Case::forward(Activation(kind), &[x], Tolerance::Elementwise));
    }
    cases
}

/// A factor and a summand.
pub fn affine() -> Vec<Case> {
    let x = Arg::normal(&[4 * 701], 1);
    vec![Case::new(Affine { scale: 2.0, shift: -1.0 }, &[x], Tolerance::Elementwise)]
}

/// Sums, differences, products and quotients of operands of these shapes.
pub fn binary(a: &[usize], b: &[usize]) -> Vec<Case> {
    let case = |kind| {
        // Divisors of magnitude 0.5 and more.
        let args = [Arg::normal(a, 1), super::away_from_zero(b, 2, 1.0, 0.5)];
        Case::new(Binary(kind), &args, Tolerance::Accumulated)
    };
    [BinaryKind::Add, BinaryKind::Sub, BinaryKind::Mul, BinaryKind::Div].map(case).to_vec()
}

/// Operands of different shapes.
pub fn binary_broadcast() -> Vec<Case> {
    let shapes: [(&[usize], &[usize]); 8] = [
        (&[3, 5, 7], &[7]),
        (&[3, 5, 7], &[3, 1, 7]),
        (&[3, 1, 7], &[3, 5, 1]),
        (&[2, 3, 4, 5], &[3, 1, 5]),
        (&[1], &[4, 3]),
        (&[130, 3], &[130, 1]),
        (&[6], &[1, 1]),
        (&[33, 12], &[33, 12]),
    ];
    shapes.into_iter().flat_map(|(a, b)| binary(a, b)).collect()
}

/// Operations that a plan joins: activation, dropout, scale, an addend or a derivative.
pub fn chain() -> Vec<Case> {
    let mut cases: Vec<Case> = [1, 7, 64, 1021, 4096].into_iter().flat_map(chain_of).collect();
    let dropout = Some(Dropout { probability: 0.3, stream: 11, first: 8 });
    let gelu = Some(ActivationKind::Gelu);
    let rng = Arg::u32(&[3], |i| [3, 17, 1][i]);
    // Frames behind the lengths, which come before rng or behind it.
    for (time, channels) in [(7, 3), (64, 5), (20, 36)] {
        let [x, lengths] = super::mask::frames(time, channels, &[0, time as u32, 4]);
        let like = Arg::normal(&[3, time, channels], 2);
        let mut forward = |finish, more: &[&Arg]| {
            let args: Vec<Arg> = std::iter::once(&x).chain(more.iter().copied()).cloned().collect();
            cases.push(Case::forward(Chain(finish), &args, Tolerance::Elementwise));
        };
        let masked = |number| Finish { lengths: Some(number), ..Finish::NONE };
        let addend = |operand| Some(Other { operand, role: Role::Addend });
        forward(Finish { dropout, ..masked(1) }, &[&lengths, &rng]);
        forward(Finish { other: addend(2), ..masked(1) }, &[&lengths, &like]);
        let all = Finish { activation: gelu, dropout, scale: 0.5, other: addend(3), ..masked(2) };
        forward(all, &[&rng, &lengths, &like]);
    }
    cases
}

/// Those of so many elements.
pub fn chain_of(size: usize) -> Vec<Case> {
    let mut cases = Vec::new();
    let dropout = Some(Dropout { probability: 0.3, stream: 11, first: 8 });
    let gelu = Some(ActivationKind::Gelu);
    let rng = Arg::u32(&[3], |i| [3, 17, 1][i]);
    let (x, like) = (Arg::normal(&[size], 1), Arg::normal(&[size], 2));
    let mut forward = |finish, more: &[&Arg]| {
        let args: Vec<Arg> = std::iter::once(&x).chain(more.iter().copied()).cloned().collect();
        cases.push(Case::forward(Chain(finish), &args, Tolerance::Elementwise));
    };
    forward(Finish { activation: gelu, dropout, ..Finish::NONE }, &[&rng]);
    forward(Finish { dropout, scale: 0.5, ..Finish::NONE }, &[&rng]);
    forward(Finish { activation: gelu, scale: -0.5, ..Finish::NONE }, &[]);
    for role in [Role::Addend, Role::Derivative(ActivationKind::Silu)] {
        let with = |operand| Some(Other { operand, role });
        forward(Finish { scale: 0.5, other: with(1), ..Finish::NONE }, &[&like]);
        let all = Finish { activation: gelu, dropout, scale: 0.5, lengths: None, other: with(2) };
        forward(all, &[&rng, &like]);
    }
    cases
}

/// Gates.
pub fn glu() -> Vec<Case> {
    let shapes: [&[usize]; 6] = [&[2], &[5, 2], &[3, 7, 10], &[2, 5, 64], &[65, 2 * 67], &[1, 2 * 63]];
    let mut cases =
        shapes.map(|dims| Case::new(Glu, &[Arg::normal(dims, 4)], Tolerance::Elementwise)).to_vec();
    let extreme = [1.0, 2.0, -3.0, 1e30, -100.0, 100.0, 0.0, -30.0];
    cases.push(Case::forward(Glu, &[Arg::f32(&[1, 8], |i| extreme[i])], Tolerance::Elementwise));
    cases.push(Case::forward(Glu, &[Arg::normal(&[0, 8], 4)], Tolerance::Exact));
    cases
}

/// Square roots, also of 0.
pub fn root() -> Vec<Case> {
    let case = |size| {
        let x = Arg::normal(&[size], 4);
        let squares = Arg::f32(&[size], |i| x.at(i).powi(2) + 0.05);
        Case::new(Root { eps: 1e-5 }, &[squares], Tolerance::Elementwise)
    };
    let mut cases = [1, 7, 64, 65, 1021].map(case).to_vec();
    // √(0 + 0.25), √(2 + 0.25), and what is far above.
    let edges = Arg::f32(&[3], |i| [0.0, 2.0, 9.75][i]);
    cases.push(Case::forward(Root { eps: 0.25 }, &[edges], Tolerance::Elementwise));
    cases
}
