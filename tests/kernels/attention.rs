use polymix::autograd::gradients;
use polymix::check::cases::attention::{self, all_positions, args, op};
use polymix::exec::{Executor, Plan, PlanOptions};
use polymix::graph::Graph;
use polymix::ops::attention::{Attention, Positions, QkvLayout};
use polymix::shape::Spec;
use proptest::prelude::*;

use crate::check::{Arg, cases, each, gpu, refuses};
use crate::tiles::tiled;

const ALL: [Positions; 3] = [Positions::Absent, Positions::Rotary, Positions::Relative];

#[test]
fn one_frame() {
    each(attention::one_frame());
}

#[test]
fn times_around_the_tiles() {
    each(attention::times_around_the_tiles());
}

#[test]
fn columns_of_a_head() {
    each(attention::columns_of_a_head());
}

#[test]
fn lengths() {
    each(attention::lengths());
}

/// With short loops, the walk is cut into several dispatches.
#[test]
fn wide_heads() {
    each(attention::wide_heads());
}

#[test]
fn any_shape() {
    proptest!(cases(4), |(
        batch in 1usize..4,
        time in 1usize..80,
        heads in 1usize..4,
        columns in 1usize..20,
        cut in 0usize..80,
    )| {
        let lengths: Vec<u32> = (0..batch).map(|b| ((cut * (b + 1)) % (time + 1)) as u32).collect();
        each(all_positions(heads, time, columns, &lengths));
    });
}

#[test]
fn nothing() {
    each(attention::nothing());
}

#[test]
fn large_scores() {
    each(attention::large_scores());
}

#[test]
fn utterances_beyond_one_binding() {
    for positions in ALL {
        let op = op(2, positions);
        // Two of the projection's five utterances of 33 · 3 · 32 numbers.
        tiled(op, &args(op, 33, 16, &[33, 7, 0, 32, 20]), 26_000, true);
    }
}

#[test]
fn refused_shapes() {
    let (projection, lengths) = (Spec::f32([2, 5, 24]), Spec::u32([2]));
    let plain = op(2, Positions::Absent);
    refuses(plain, &[Spec::f32([5, 24]), lengths.clone()]);
    refuses(plain, &[projection.clone(), Spec::u32([3])]);
    refuses(plain, &[projection.clone(), Spec::f32([2])]);
    refuses(op(0, Positions::Absent), &[projection.clone(), lengths.clone()]);
    refuses(op(3, Positions::Absent), &[projection.clone(), lengths.clone()]);
    refuses(plain, &[projection.clone(), lengths.clone(), Spec::f32([5, 4])]);
    let rotary = op(2, Positions::Rotary);
    refuses(rotary, &[projection.clone(), lengths.clone(), Spec::f32([5, 8])]);
    refuses(op(8, Positions::Rotary), &[projection.clone(), lengths.clone(), Spec::f32([5, 1])]);
    let relative = op(2, Positions::Relative);
    let (table, bias) = (Spec::f32([5, 8]), Spec::f32([2, 2, 4]));
    refuses(relative, &[projection.clone(), lengths.clone(), table.clone()]);
    refuses(relative, &[projection.clone(), lengths.clone(), Spec::f32([4, 8]), bias]);
    refuses(relative, &[projection, lengths, table, Spec::f32([2, 4])]);
}

/// Attention over 8192 frames, in f64, of which a few rows are computed.
struct Long {
    projection: Vec<f64>,
    table: Vec<f64>,
    bias: Vec<f64>,
    dy: Vec<f64>,
    scale: f64,
}

const TIME: usize = 8192;
const LENGTH: usize = 8000;
const COLUMNS: usize = 4;

impl Long {
    fn row(&self, part: usize, t: usize) -> &[f64] {
        &self.projection[(3 * t + part) * COLUMNS..][..COLUMNS]
    }

    fn query(&self, which: usize, t: usize) -> [f64; COLUMNS] {
        std::array::from_fn(|c| self.row(0, t)[c] + self.bias[which * COLUMNS + c])
    }

    fn position(&self, n: usize) -> &[f64] {
        &self.table[n * COLUMNS..][..COLUMNS]
    }

    fn score(&self, i: usize, j: usize) -> f64 {
        let position = dot(&self.query(1, i), self.position(i.abs_diff(j)));
        self.scale * (dot(&self.query(0, i), self.row(1, j)) + position)
    }

    /// y_i and the logarithm of the sum of its weights.
    fn forward(&self, i: usize) -> ([f64; COLUMNS], f64) {
        let (mut y, mut sum) = ([0.0; COLUMNS], 0.0);
        for j in 0..LENGTH {
            let weight = self.score(i, j).exp();
            sum += weight;
            add(&mut y, weight, self.row(2, j));
        }
        (y.map(|y| y / sum), sum.ln())
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn add(sum: &mut [f64; COLUMNS], weight: f64, x: &[f64]) {
    sum.iter_mut().zip(x).for_each(|(sum, x)| *sum += weight * x);
}

#[test]
fn eight_thousand_frames() {
    let Some(gpu) = gpu() else { return };
    let op = Attention { layout: QkvLayout::PartMajor, ..op(1, Positions::Relative) };
    let operands = args(op, TIME, COLUMNS, &[LENGTH as u32]);
    let dy = Arg::normal(&[1, TIME, COLUMNS], 9);
    let flat = |arg: &Arg| arg.values.iter().copied().collect::<Vec<f64>>();
    let exact = Long {
        projection: flat(&operands[0]),
        table: flat(&operands[2]),
        bias: flat(&operands[3]),
        dy: flat(&dy),
        scale: f64::from(op.scale),
    };

    let graph = Graph::new();
    let projection = graph.input("projection", Spec::f32([1, TIME, 3 * COLUMNS]));
    let lengths = graph.input("lengths", Spec::u32([1]));
    let table = graph.input("table", Spec::f32([TIME, COLUMNS]));
    let bias = graph.input("bias", Spec::f32([2, 1, COLUMNS]));
    let dy_node = graph.input("dy", Spec::f32([1, TIME, COLUMNS]));
    let y = projection.attention(op, &lengths, &[&table, &bias]).unwrap();
    let grads = gradients(&[(&y, &dy_node)], &[&projection, &table]).unwrap();
    let outputs = [("y", &y), ("dx", grads[0].as_ref().unwrap()), ("dp", grads[1].as_ref().unwrap())];
    let plan = Plan::compile(&graph, &outputs, PlanOptions::default(), gpu.capabilities()).unwrap();
    assert!(plan.peak_bytes() < 100 * (TIME * COLUMNS * 4) as u64, "{} bytes", plan.peak_bytes());
    let mut executor = Executor::new(gpu.clone());
    let mut loaded = pollster::block_on(executor.load(plan)).unwrap();
    for (name, arg) in
        [("projection", &operands[0]), ("table", &operands[2]), ("bias", &operands[3]), ("dy", &dy)]
    {
        let data: Vec<f32> = arg.values.iter().map(|&x| x as f32).collect();
        executor.write_input(&loaded, name, &data).unwrap();
    }
    executor.write_input(&loaded, "lengths", &[LENGTH as u32]).unwrap();
    executor.run(&mut loaded).unwrap();
    let read = |name| pollster::block_on(executor.read::<f32>(&loaded, name)).unwrap();
    let near = |label: &str, got: &[f32], wanted: &[f64], largest: f64| {
        for (got, wanted) in got.iter().zip(wanted) {
            assert!((f64::from(*got) - wanted).abs() <= 2e-5 * largest, "{label}: {got}, wanted {wanted}");
        }
    };

    let all: Vec<([f64; COLUMNS], f64)> = (0..TIME).map(|i| exact.forward(i)).collect();
    let (got, gradients) = (read("y"), read("dx"));
    for (i, (y, _)) in all.iter().enumerate() {
        near(&format!("y {i}"), &got[i * COLUMNS..][..COLUMNS], y, 1.0);
    }
    // Weights and gradients of the scores.
    let dscore = |i: usize, j: usize| {
        let dy = &exact.dy[i * COLUMNS..][..COLUMNS];
        let weight = (exact.score(i, j) - all[i].1).exp();
        (weight, exact.scale * weight * (dot(dy, exact.row(2, j)) - dot(dy, &all[i].0)))
    };
    let largest = gradients.iter().fold(1.0, |m: f64, x| m.max(f64::from(x.abs())));
    for t in [0, 1, 4095, 4096, 7999, 8191] {
        let (mut dq, mut dk, mut dv) = ([0.0; COLUMNS], [0.0; COLUMNS], [0.0; COLUMNS]);
        for other in 0..TIME {
            if other < LENGTH {
                let (_, dscore_ij) = dscore(t, other);
                add(&mut dq, dscore_ij, exact.row(1, other));
                add(&mut dq, dscore_ij, exact.position(t.abs_diff(other)));
            }
            if t < LENGTH {
                let (weight, dscore_ij) = dscore(other, t);
                add(&mut dk, dscore_ij, &exact.query(0, other));
                add(&mut dv, weight, &exact.dy[other * COLUMNS..][..COLUMNS]);
            }
        }
        let wanted = [dq, dk, dv].concat();
        near(
            &format!("gradient of frame {t}"),
            &gradients[t * 3 * COLUMNS..][..3 * COLUMNS],
            &wanted,
            largest,
        );
    }
    let got = read("dp");
    let largest = got.iter().fold(1.0, |m: f64, x| m.max(f64::from(x.abs())));
    for n in [0, 1, 31, 32, 4000, 7999, 8191] {
        let mut dp = [0.0; COLUMNS];
        for i in 0..TIME {
            for j in [i.checked_sub(n), (n > 0).then_some(i + n)].into_iter().flatten() {
                if j < LENGTH {
                    add(&mut dp, dscore(i, j).1, &exact.query(1, i));
                }
            }
        }
        near(&format!("gradient of distance {n}"), &got[n * COLUMNS..][..COLUMNS], &dp, largest);
    }
}
