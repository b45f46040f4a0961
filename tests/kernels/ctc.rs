use std::path::PathBuf;

use ndarray::IxDyn;
use polymix::autograd::gradients;
use polymix::check::cases::ctc::{self, operands};
use polymix::exec::{Executor, Plan, PlanOptions};
use polymix::graph::Graph;
use polymix::ops::ctc::{CtcLoss, CtcLossBackward};
use polymix::ops::{Array, Op};
use polymix::shape::Spec;
use proptest::prelude::*;
use safetensors::{Dtype, SafeTensors};

use crate::check::{Arg, Tolerance, cases, check, each, gpu, refuses};

const ZERO: CtcLoss = CtcLoss { blank: 0, zero_infinity: true };
const INFINITE: CtcLoss = CtcLoss { blank: 0, zero_infinity: false };

/// What the kernels compute: loss, infinite, and the gradient of Σ weights·loss; nothing without an adapter.
/// `binding` lowers the device's limit.
fn kernels(op: CtcLoss, args: &[Arg; 4], weights: &[f64], binding: Option<u64>) -> Option<[Vec<f64>; 3]> {
    let gpu = gpu()?;
    let graph = Graph::new();
    let spec = |arg: &Arg| Spec { shape: arg.values.shape().into(), dtype: arg.dtype };
    let [logits, targets, frames, labels] =
        [0, 1, 2, 3].map(|i: usize| graph.input(format!("x{i}"), spec(&args[i])));
    let weight = graph.input("weight", Spec::f32([weights.len()]));
    let (loss, infeasible) = logits.ctc_loss(&targets, &frames, &labels, op).unwrap();
    let gradient = gradients(&[(&loss, &weight)], &[&logits]).unwrap().swap_remove(0).unwrap();
    let mut capabilities = gpu.capabilities().clone();
    capabilities.max_binding = binding.unwrap_or(capabilities.max_binding);
    let outputs = [("loss", &loss), ("infeasible", &infeasible), ("gradient", &gradient)];
    let plan = Plan::compile(&graph, &outputs, PlanOptions::default(), &capabilities).unwrap();
    let mut executor = Executor::new(gpu.clone());
    executor.fence();
    let mut loaded = pollster::block_on(executor.load(plan)).unwrap();
    executor.poison(&loaded).unwrap();
    let f32s = |values: &Array| values.iter().map(|&x| x as f32).collect::<Vec<f32>>();
    executor.write_input(&loaded, "x0", &f32s(&args[0].values)).unwrap();
    for (i, arg) in args.iter().enumerate().skip(1) {
        let data: Vec<u32> = arg.values.iter().map(|&x| x as u32).collect();
        executor.write_input(&loaded, &format!("x{i}"), &data).unwrap();
    }
    let weights: Vec<f32> = weights.iter().map(|&x| x as f32).collect();
    executor.write_input(&loaded, "weight", &weights).unwrap();
    executor.run(&mut loaded).unwrap();
    Some(["loss", "infeasible", "gradient"].map(|name| {
        let values: Vec<f32> = pollster::block_on(executor.read(&loaded, name)).unwrap();
        values.into_iter().map(f64::from).collect()
    }))
}

/// The largest difference, divided by the largest magnitude of `wanted`.
fn error(got: &[f64], wanted: &[f64]) -> f64 {
    assert_eq!(got.len(), wanted.len());
    let largest = wanted.iter().fold(0.0_f64, |m, x| m.max(x.abs()));
    let worst = got.iter().zip(wanted).map(|(a, b)| (a - b).abs()).fold(0.0, |m: f64, x| {
        assert!(!x.is_nan(), "not a number");
        m.max(x)
    });
    worst / largest.max(1e-30)
}

/// The kernels agree with the definition: losses within 1e-5 of themselves, gradients within `bound` of their
/// maximum.
fn agrees(args: &[Arg; 4], blank: u32, bound: f64) {
    let op = CtcLoss { blank, ..ZERO };
    let inputs = [0, 1, 2, 3].map(|i: usize| &args[i].values);
    let wanted = op.reference(&inputs);
    let batch = wanted[0].len();
    let Some([loss, infeasible, gradient]) = kernels(op, args, &vec![1.0; batch], None) else { return };
    for (got, wanted) in loss.iter().zip(&wanted[0]) {
        assert!((got - wanted).abs() <= 1e-5 * wanted.abs().max(1.0), "loss {got}, definition {wanted}");
    }
    assert_eq!(infeasible, wanted[1].iter().copied().collect::<Vec<f64>>());
    let worst = error(&gradient, wanted[2].as_slice().unwrap());
    eprintln!("gradient within {worst:.1e} of the definition");
    assert!(worst <= bound, "gradient {worst}");
}

/// Loss and gradient by enumerating every alignment of one utterance.
fn enumerate(logits: &[f64], vocab: usize, labels: &[usize], blank: usize) -> (f64, Vec<f64>) {
    let frames = logits.len() / vocab;
    let softmax: Vec<f64> = logits
        .chunks(vocab)
        .flat_map(|row| {
            let sum: f64 = row.iter().map(|x| x.exp()).sum();
            row.iter().map(move |x| x.exp() / sum)
        })
        .collect();
    let (mut total, mut occupied) = (0.0, vec![0.0; logits.len()]);
    for code in 0..vocab.pow(frames as u32) {
        let path: Vec<usize> = (0..frames).map(|t| code / vocab.pow(t as u32) % vocab).collect();
        let mut collapsed = path.clone();
        collapsed.dedup();
        collapsed.retain(|&class| class != blank);
        if collapsed != labels {
            continue;
        }
        let p: f64 = path.iter().enumerate().map(|(t, &class)| softmax[t * vocab + class]).product();
        total += p;
        path.iter().enumerate().for_each(|(t, &class)| occupied[t * vocab + class] += p);
    }
    if total == 0.0 {
        return (0.0, vec![0.0; logits.len()]);
    }
    (-total.ln(), softmax.iter().zip(occupied).map(|(p, o)| p - o / total).collect())
}

#[test]
fn all_alignments() {
    for vocab in 1..=3_usize {
        for blank in 0..vocab as u32 {
            // Every target of up to 3 labels, at every number of frames up to 5.
            let others: Vec<u32> = (0..vocab as u32).filter(|&class| class != blank).collect();
            let mut targets: Vec<Vec<u32>> = vec![Vec::new()];
            for length in 0..3 {
                let longer = targets.iter().filter(|t| t.len() == length);
                let longer: Vec<Vec<u32>> =
                    longer.flat_map(|t| others.iter().map(|&c| [&t[..], &[c]].concat())).collect();
                targets.extend(longer);
            }
            let rows: Vec<(u32, &Vec<u32>)> =
                (0..=5).flat_map(|frames| targets.iter().map(move |t| (frames, t))).collect();
            let args = [
                Arg::normal(&[rows.len(), 5, vocab], 4),
                Arg::u32(&[rows.len(), 3], |i| *rows[i / 3].1.get(i % 3).unwrap_or(&blank)),
                Arg::u32(&[rows.len()], |b| rows[b].0),
                Arg::u32(&[rows.len()], |b| rows[b].1.len() as u32),
            ];
            let op = CtcLoss { blank, ..ZERO };
            let reference = op.reference(&[0, 1, 2, 3].map(|i: usize| &args[i].values));
            let logits = args[0].values.as_slice().unwrap();
            for (b, (frames, target)) in rows.iter().enumerate() {
                let labels: Vec<usize> = target.iter().map(|&c| c as usize).collect();
                let own = &logits[b * 5 * vocab..][..*frames as usize * vocab];
                let (loss, gradient) = enumerate(own, vocab, &labels, blank as usize);
                assert!((reference[0][[b]] - loss).abs() < 1e-12, "{frames} frames, {target:?}");
                let got = &reference[2].as_slice().unwrap()[b * 5 * vocab..][..own.len()];
                assert!(got.iter().zip(&gradient).all(|(a, b)| (a - b).abs() < 1e-12), "{frames} {target:?}");
            }
            agrees(&args, blank, 2e-6);
        }
    }
}

#[test]
fn shapes() {
    each(ctc::shapes());
}

#[test]
fn any_lengths() {
    proptest!(cases(12), |(time in 1usize..24, vocab in 2usize..12, max_target_length in 1usize..12,
        parts in prop::collection::vec((0.0..1.1_f64, 0.0..1.0_f64), 1..5), blank in 0.0..1.0_f64, seed: u32)| {
        let up_to = |part: f64, most: usize| ((part * (most + 1) as f64) as u32).min(most as u32);
        let lengths: Vec<_> = parts.iter().map(|&(t, l)| (up_to(t, time), up_to(l, max_target_length))).collect();
        let blank = up_to(blank, vocab - 1);
        let args = operands([lengths.len(), time, vocab], 2.0, blank, max_target_length, &lengths, seed);
        check(CtcLoss { blank, ..ZERO }, &args, Tolerance::Accumulated);
    });
}

#[test]
fn long_utterances() {
    // Log-probabilities that sum to below −1e5.
    agrees(&operands([2, 8000, 32], 12.0, 0, 160, &[(8000, 160), (7999, 30)], 5), 0, 2e-6);
    agrees(&operands([1, 8000, 8], 1.0, 0, 20, &[(8000, 20)], 6), 0, 2e-6);
}

#[test]
fn large_vocabularies() {
    agrees(&operands([2, 40, 5000], 2.0, 4999, 15, &[(40, 15), (31, 12)], 7), 4999, 2e-6);
}

/// A converged model: nearly all probability on one alignment.
#[test]
fn confident_frames() {
    let mut args = operands([2, 300, 29], 1.0, 0, 40, &[(300, 40), (280, 17)], 8);
    for b in 0..2 {
        let labels = args[3].values[[b]] as usize;
        for t in 0..300 {
            let label = if t % 7 == 3 && t / 7 < labels { args[1].values[[b, t / 7]] as usize } else { 0 };
            args[0].values[[b, t, label]] += 20.0;
        }
    }
    // A gradient of 1e-6 is the difference of two numbers close to 1.
    agrees(&args, 0, 0.1);
}

#[test]
fn impossible_targets() {
    each(ctc::impossible_targets());
    let args = ctc::impossible_args();
    let wanted = INFINITE.reference(&[0, 1, 2, 3].map(|i: usize| &args[i].values));
    assert_eq!(wanted[1].as_slice().unwrap(), [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0]);
    let Some([loss, infeasible, gradient]) = kernels(INFINITE, &args, &[1.0; 7], None) else { return };
    assert_eq!(infeasible, [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0]);
    assert!(loss[..6].iter().all(|&x| x == f64::INFINITY) && (loss[6] - wanted[0][[6]]).abs() < 1e-4);
    assert!(gradient[..120].iter().all(|&x| x == 0.0) && gradient[120..].iter().any(|&x| x != 0.0));
}

#[test]
fn logits_that_are_not_finite_show() {
    let mut args = operands([3, 6, 4], 1.0, 0, 2, &[(6, 2), (6, 2), (5, 2)], 1);
    args[0].values[[1, 3, 2]] = f64::NAN;
    args[0].values[[2, 5, 2]] = f64::NAN;
    let Some([loss, infeasible, _]) = kernels(ZERO, &args, &[1.0; 3], None) else { return };
    assert!(loss[0].is_finite() && !loss[1].is_finite(), "{loss:?}");
    assert!(loss[2].is_finite(), "beyond the length: {loss:?}");
    assert_eq!(infeasible, [0.0; 3]);
}

#[test]
fn tiles() {
    let lengths = [(30, 9), (29, 4), (0, 0), (17, 9), (30, 1)];
    let args = operands([5, 30, 37], 1.0, 0, 9, &lengths, 2);
    let weights = [1.0, -2.0, 3.0, 0.5, 0.25];
    let Some(whole) = kernels(ZERO, &args, &weights, None) else { return };
    // Two utterances of 30·19 states and one, the frames of logits in two runs.
    for binding in [8 * 30 * 19 * 2 + 64, 8 * 30 * 19 + 4] {
        assert_eq!(kernels(ZERO, &args, &weights, Some(binding)).unwrap(), whole, "{binding}");
    }
}

#[test]
fn shapes_that_do_not_fit() {
    let [f, u] = [|dims: &[usize]| Spec::f32(dims), |dims: &[usize]| Spec::u32(dims)];
    refuses(ZERO, &[f(&[2, 3, 4]), u(&[2, 5]), u(&[2])]);
    refuses(ZERO, &[f(&[2, 3, 4]), f(&[2, 5]), u(&[2]), u(&[2])]);
    refuses(ZERO, &[f(&[2, 3, 4]), u(&[3, 5]), u(&[2]), u(&[2])]);
    refuses(ZERO, &[f(&[2, 3, 4]), u(&[2, 5]), u(&[1]), u(&[2])]);
    refuses(ZERO, &[f(&[6, 4]), u(&[2, 5]), u(&[2]), u(&[2])]);
    refuses(CtcLoss { blank: 4, ..ZERO }, &[f(&[2, 3, 4]), u(&[2, 5]), u(&[2]), u(&[2])]);
    refuses(CtcLossBackward, &[f(&[2, 3, 4]), f(&[3])]);
}

/// Golden values of an independent implementation in f64.
#[test]
fn golden() {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared");
    let root = std::env::var_os("POLYMIX_SHARED").map_or_else(|| PathBuf::from(default), PathBuf::from);
    for (name, summed) in [("small_edge", true), ("exact_fit", true), ("long_b2", false)] {
        let path = root.join(format!("golden/ctc_{name}.safetensors"));
        let Ok(bytes) = std::fs::read(&path) else {
            eprintln!("skipped: {} is not there", path.display());
            continue;
        };
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let read = |name: &str| {
            let view = file.tensor(name).unwrap();
            let data = view.data();
            let values: Vec<f64> = match view.dtype() {
                Dtype::F32 => {
                    data.chunks(4).map(|b| f64::from(f32::from_le_bytes(b.try_into().unwrap()))).collect()
                }
                Dtype::F64 => data.chunks(8).map(|b| f64::from_le_bytes(b.try_into().unwrap())).collect(),
                Dtype::I64 => {
                    data.chunks(8).map(|b| i64::from_le_bytes(b.try_into().unwrap()) as f64).collect()
                }
                other => panic!("{other:?}"),
            };
            Array::from_shape_vec(IxDyn(view.shape()), values).unwrap()
        };
        let u32s = |name: &str| {
            let values = read(name);
            let flat: Vec<u32> = values.iter().map(|&x| x as u32).collect();
            Arg::u32(values.shape(), |i| flat[i])
        };
        let logits = read("logits");
        let flat = logits.as_slice().unwrap();
        let args = [
            Arg::f32(logits.shape(), |i| flat[i]),
            u32s("targets"),
            u32s("input_lengths"),
            u32s("target_lengths"),
        ];
        let batch = logits.shape()[0];
        let mean: Vec<f64> =
            args[3].values.iter().map(|&length| 1.0 / (length.max(1.0) * batch as f64)).collect();
        let mut gradients = vec![("grad_logits_mean_zi1", mean)];
        if summed {
            gradients.push(("grad_logits_sum_zi1", vec![1.0; batch]));
        }
        for (key, weights) in gradients {
            let wanted: Vec<f64> = read(key).iter().copied().collect();
            let definition = ZERO.reference(&[0, 1, 2, 3].map(|i: usize| &args[i].values));
            let weights_array = Array::from_shape_vec(IxDyn(&[batch]), weights.clone()).unwrap();
            let gradient = CtcLossBackward.reference(&[&definition[2], &weights_array]).swap_remove(0);
            let worst = error(gradient.as_slice().unwrap(), &wanted);
            assert!(worst < 2e-7, "{name} {key}: definition {worst}");
            for (op, losses) in [(ZERO, "loss_none_zi1"), (INFINITE, "loss_none_zi0")] {
                let Some([loss, _, gradient]) = kernels(op, &args, &weights, None) else { return };
                let definition = op.reference(&[0, 1, 2, 3].map(|i: usize| &args[i].values));
                for ((got, wanted), definition) in loss.iter().zip(&read(losses)).zip(&definition[0]) {
                    let close =
                        |x: f64, bound: f64| x == *wanted || (x - wanted).abs() <= bound * wanted.abs();
                    assert!(close(*got, 1e-5), "{name} {losses}: {got}, wanted {wanted}");
                    assert!(close(*definition, 1e-12), "{name} {losses}: {definition}, wanted {wanted}");
                }
                let worst = error(&gradient, &wanted);
                eprintln!("{name} {key}: gradient within {worst:.1e}");
                assert!(worst <= 6e-5, "{name} {key}: {worst}");
            }
        }
    }
}
