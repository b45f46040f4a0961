//! Row-wise kernels on a device that binds no more than a few rows at once.

use std::collections::HashMap;
use std::sync::Arc;

use polymix::autograd::gradients;
use polymix::exec::{Executor, Plan, PlanOptions, reference};
use polymix::graph::{Graph, Tensor};
use polymix::ops::Op;
use polymix::ops::loss::{Argmax, CrossEntropy};
use polymix::ops::norm::{LayerNorm, LogSoftmax, Softmax};
use polymix::ops::reduce::Sum;
use polymix::shape::{DType, Spec};

use crate::check::{Arg, gpu};

/// Runs `op` and its derivative, seeded with ones, both ways.
pub fn tiled(op: impl Op + 'static, args: &[Arg], max_binding: u64, differentiable: bool) {
    let Some(gpu) = gpu() else { return };
    let name = op.name();
    let graph = Graph::new();
    let spec = |arg: &Arg| Spec { shape: arg.values.shape().into(), dtype: arg.dtype };
    let inputs: Vec<Tensor> =
        args.iter().enumerate().map(|(i, arg)| graph.input(format!("x{i}"), spec(arg))).collect();
    let refs: Vec<&Tensor> = inputs.iter().collect();
    let mut results = graph.apply(Arc::new(op), &refs).unwrap();
    if differentiable {
        let cotangent = graph.fill(results[0].shape().clone(), 1.0).unwrap().mul(&results[0]).unwrap();
        results.extend(gradients(&[(&results[0], &cotangent)], &refs).unwrap().into_iter().flatten());
    }
    let mut bindings: reference::Bindings = HashMap::default();
    args.iter().enumerate().for_each(|(i, arg)| drop(bindings.insert(format!("x{i}"), arg.values.clone())));
    let wanted = reference::run(&graph, &mut bindings, &results.iter().collect::<Vec<_>>()).unwrap();

    let mut capabilities = gpu.capabilities().clone();
    capabilities.max_binding = max_binding;
    let labels: Vec<String> = (0..results.len()).map(|i| format!("y{i}")).collect();
    let named: Vec<(&str, &Tensor)> = labels.iter().map(String::as_str).zip(&results).collect();
    let plan = Plan::compile(&graph, &named, PlanOptions::default(), &capabilities).unwrap();
    let mut executor = Executor::new(gpu.clone());
    executor.fence();
    let mut loaded = pollster::block_on(executor.load(plan)).unwrap();
    executor.poison(&loaded).unwrap();
    for (i, arg) in args.iter().enumerate() {
        let bits = |&x: &f64| if arg.dtype == DType::U32 { x as u32 } else { (x as f32).to_bits() };
        let data: Vec<u32> = arg.values.iter().map(bits).collect();
        executor.write_input(&loaded, &format!("x{i}"), &data).unwrap();
    }
    executor.run(&mut loaded).unwrap();
    for ((label, tensor), wanted) in named.iter().zip(&wanted) {
        let bits: Vec<u32> = pollster::block_on(executor.read(&loaded, label)).unwrap();
        let largest = wanted.iter().fold(1.0_f64, |m, x| m.max(x.abs()));
        for (at, (&bits, &wanted)) in bits.iter().zip(wanted).enumerate() {
            let got =
                if tensor.dtype() == DType::U32 { bits.into() } else { f64::from(f32::from_bits(bits)) };
            assert!((got - wanted).abs() <= 2e-5 * largest, "{name} {label}[{at}]: {got}, wanted {wanted}");
        }
    }
    pollster::block_on(executor.check_fences(&loaded)).unwrap();
}

#[test]
fn rows_beyond_one_binding() {
    // 64 rows are a multiple of every alignment up to 256 bytes.
    for n in [32, 33] {
        let limit = 4 * 64 * n as u64;
        let x = || Arg::normal(&[400, n], 1);
        let norm = [x(), Arg::normal(&[n], 2), Arg::normal(&[n], 3)];
        tiled(LayerNorm { eps: 1e-5 }, &norm, limit, true);
        tiled(Softmax, &[x()], limit, true);
        tiled(LogSoftmax, &[x()], limit, true);
        tiled(Argmax, &[x()], limit, false);
        let targets = Arg::u32(&[400], |row| (row * 31 % n) as u32);
        tiled(CrossEntropy, &[x(), targets, Arg::u32(&[1], |_| 333)], limit, true);
    }
}

#[test]
fn sums_beyond_one_binding() {
    for (rows, n, most) in [(1000, 64, 64), (500, 32, 128), (9000, 33, 4096)] {
        tiled(Sum { first: 0, last: 1 }, &[Arg::normal(&[rows, n], 1)], 4 * most * n as u64, false);
    }
}
