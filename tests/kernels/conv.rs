use ndarray::Axis;
use polymix::autograd::gradients;
use polymix::check::cases::conv::{self, conv2d_args, depthwise_args};
use polymix::exec::{Executor, Plan, PlanOptions};
use polymix::graph::{Graph, Tensor};
use polymix::ops::conv::{Conv2d, DepthwiseConv1d};
use polymix::ops::{Array, Op};
use polymix::shape::Spec;
use proptest::prelude::*;

use crate::check::{Tolerance, cases, check, each, gpu, refuses};

#[test]
fn conv2d() {
    each(conv::conv2d());
    let wrong: [[&[usize]; 3]; 5] = [
        [&[1, 1, 4, 2], &[3, 2, 3, 3], &[3]],
        [&[1, 4, 1, 2], &[3, 2, 3, 3], &[3]],
        [&[1, 4, 4, 2], &[3, 1, 3, 3], &[3]],
        [&[1, 4, 4, 2], &[3, 2, 3, 3], &[2]],
        [&[4, 4, 2], &[3, 2, 3, 3], &[3]],
    ];
    for shapes in wrong {
        refuses(Conv2d, &shapes.map(Spec::f32));
    }
}

#[test]
fn conv2d_any_shape() {
    proptest!(cases(10), |(batch in 1usize..4, time in 2usize..9, frequency in 2usize..40, cin in 1usize..6, cout in 1usize..18)| {
        check(Conv2d, &conv2d_args([batch, time, frequency, cin, cout]), Tolerance::Accumulated);
    });
}

/// A device that binds little runs the convolution in tiles of frames, to the same bits.
#[test]
fn conv2d_tiles() {
    let Some(gpu) = gpu() else { return };
    if gpu.capabilities().storage_alignment > 64 {
        eprintln!("skipped: an aligned tile of this adapter holds the whole case");
        return;
    }
    for (sizes, tiled) in
        [([3, 38, 37, 1, 8], 12_000), ([3, 41, 37, 1, 8], 12_000), ([3, 41, 37, 8, 16], 60_000)]
    {
        let mut results = Vec::new();
        for max_binding in [gpu.capabilities().max_binding, tiled] {
            let args = conv2d_args(sizes);
            let graph = Graph::new();
            let names = ["x", "weight", "bias"];
            let inputs: Vec<Tensor> = names
                .iter()
                .zip(&args)
                .map(|(&name, arg)| graph.input(name, Spec::f32(arg.values.shape())))
                .collect();
            let y = inputs[0].conv2d(&inputs[1], &inputs[2]).unwrap();
            let dy = y.scale(0.5).unwrap();
            let grads = gradients(&[(&y, &dy)], &inputs.iter().collect::<Vec<_>>()).unwrap();
            let grads: Vec<Tensor> = grads.into_iter().flatten().collect();
            let outputs = [("y", &y), ("dx", &grads[0]), ("dweight", &grads[1]), ("dbias", &grads[2])];
            let mut capabilities = gpu.capabilities().clone();
            capabilities.max_binding = max_binding;
            let plan = Plan::compile(&graph, &outputs, PlanOptions::default(), &capabilities).unwrap();
            let mut executor = Executor::new(gpu.clone());
            let mut loaded = pollster::block_on(executor.load(plan)).unwrap();
            executor.poison(&loaded).unwrap();
            for (name, arg) in names.iter().zip(&args) {
                let data: Vec<f32> = arg.values.iter().map(|&x| x as f32).collect();
                executor.write_input(&loaded, name, &data).unwrap();
            }
            executor.run(&mut loaded).unwrap();
            let read = |name| -> Vec<f32> { pollster::block_on(executor.read(&loaded, name)).unwrap() };
            results.push(outputs.map(|(name, _)| read(name)));
        }
        let [whole, tiled] = [&results[0], &results[1]];
        assert!(whole[0] == tiled[0] && whole[1] == tiled[1], "{sizes:?}");
        for i in [2, 3] {
            let close = |(a, b): (&f32, &f32)| (a - b).abs() <= 2e-5 * a.abs().max(100.0);
            assert!(whole[i].iter().zip(&tiled[i]).all(close), "{sizes:?}");
        }
    }
}

#[test]
fn depthwise_conv1d() {
    each(conv::depthwise_conv1d());
    let specs = |weight: &[usize], lengths: usize| {
        [Spec::f32([2, 9, 4]), Spec::f32(weight), Spec::f32([4]), Spec::u32([lengths])]
    };
    refuses(DepthwiseConv1d { left: 4 }, &specs(&[4, 1, 4], 2));
    refuses(DepthwiseConv1d { left: 1 }, &specs(&[3, 1, 3], 2));
    refuses(DepthwiseConv1d { left: 1 }, &specs(&[4, 1, 3], 1));
}

/// A causal convolution is a centered one whose later taps are 0; the one that looks ahead is its mirror image.
#[test]
fn depthwise_conv1d_directions() {
    let (time, channels) = (9, 2);
    let [x, weight, bias, lengths] = depthwise_args([time, channels, 4], &[9]);
    let run = |left: usize, x: &Array, weight: &Array| {
        let args = [x, weight, &bias.values, &lengths.values];
        DepthwiseConv1d { left }.reference(&args).swap_remove(0)
    };
    let causal = run(3, &x.values, &weight.values);
    let mut longer = Array::zeros(vec![channels, 1, 7]);
    longer.slice_axis_mut(Axis(2), (..4).into()).assign(&weight.values);
    assert_eq!(causal, run(3, &x.values, &longer));
    let flipped = |x: &Array, axis: usize| {
        let mut x = x.clone();
        x.invert_axis(Axis(axis));
        x
    };
    let ahead = run(0, &flipped(&x.values, 1), &flipped(&weight.values, 2));
    let close = |(a, b): (&f64, &f64)| (a - b).abs() < 1e-12;
    assert!(causal.iter().zip(&flipped(&ahead, 1)).all(close));
}

#[test]
fn depthwise_conv1d_any_shape() {
    proptest!(cases(6), |(time in 1usize..80, channels in 1usize..20, kernel in 1usize..34, left in 0usize..34, lengths in prop::collection::vec(0u32..80, 1..4))| {
        let lengths: Vec<u32> = lengths.iter().map(|&length| length.min(time as u32)).collect();
        let op = DepthwiseConv1d { left: left % kernel };
        check(op, &depthwise_args([time, channels, kernel], &lengths), Tolerance::Accumulated);
    });
}
