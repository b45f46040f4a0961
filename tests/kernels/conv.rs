use ndarray::Axis;
use polymix::autograd::gradients;
use polymix::exec::{Executor, Plan, PlanOptions};
use polymix::graph::{Graph, Tensor};
use polymix::ops::conv::{Conv2d, DepthwiseConv1d};
use polymix::ops::{Array, Op};
use polymix::shape::Spec;
use proptest::prelude::*;

use crate::check::{Arg, Tolerance, cases, check, check_outputs, gpu, refuses};

fn conv2d_args([batch, time, frequency, cin, cout]: [usize; 5]) -> [Arg; 3] {
    [
        Arg::normal(&[batch, time, frequency, cin], 1),
        Arg::normal(&[cout, cin, 3, 3], 2),
        Arg::normal(&[cout], 3),
    ]
}

#[test]
fn conv2d() {
    for sizes in [
        [1, 2, 2, 1, 1],
        [1, 2, 3, 1, 8],
        [2, 3, 2, 4, 3],
        [2, 5, 7, 3, 5],
        [3, 4, 33, 1, 64],
        [1, 5, 34, 4, 8],
        [1, 4, 31, 5, 4],
        [2, 7, 20, 8, 16],
        [1, 6, 17, 12, 9],
    ] {
        check(Conv2d, &conv2d_args(sizes), Tolerance::Accumulated);
    }
    check_outputs(Conv2d, &conv2d_args([0, 4, 4, 1, 8]), Tolerance::Exact, 0);
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
                executor.feed(&loaded, name, &data).unwrap();
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

fn depthwise_args([time, channels, kernel]: [usize; 3], lengths: &[u32]) -> [Arg; 4] {
    [
        Arg::normal(&[lengths.len(), time, channels], 1),
        Arg::normal(&[channels, 1, kernel], 2),
        Arg::normal(&[channels], 3),
        Arg::u32(&[lengths.len()], |i| lengths[i]),
    ]
}

#[test]
fn depthwise_conv1d() {
    let cases: [([usize; 3], usize, &[u32]); 17] = [
        ([1, 1, 1], 0, &[1]),
        ([1, 3, 31], 15, &[1, 0]),
        ([7, 5, 3], 1, &[7, 0, 3]),
        ([8, 16, 31], 15, &[8, 5]),
        ([9, 4, 7], 3, &[1, 9, 8]),
        ([65, 6, 31], 15, &[65, 64, 30, 0]),
        ([131, 3, 9], 4, &[131]),
        ([17, 65, 5], 2, &[16, 17]),
        // Causal, looking ahead, and neither.
        ([1, 3, 4], 3, &[1, 0]),
        ([19, 5, 4], 3, &[19, 7, 1, 0]),
        ([19, 5, 4], 0, &[19, 7, 1, 0]),
        ([67, 3, 12], 11, &[67, 66]),
        ([67, 3, 12], 8, &[67, 64]),
        // Four channels at a time.
        ([1, 4, 31], 15, &[1, 0]),
        ([33, 8, 5], 4, &[33, 20, 0]),
        ([67, 12, 18], 0, &[67, 17, 16]),
        ([130, 4, 12], 8, &[130, 64]),
    ];
    for (sizes, left, lengths) in cases {
        check(DepthwiseConv1d { left }, &depthwise_args(sizes, lengths), Tolerance::Accumulated);
    }
    check_outputs(DepthwiseConv1d { left: 1 }, &depthwise_args([4, 4, 3], &[]), Tolerance::Exact, 0);
    let specs = |weight: &[usize], lengths: usize| {
        [Spec::f32([2, 9, 4]), Spec::f32(weight), Spec::f32([4]), Spec::u32([lengths])]
    };
    refuses(DepthwiseConv1d { left: 4 }, &specs(&[4, 1, 4], 2));
    refuses(DepthwiseConv1d { left: 1 }, &specs(&[3, 1, 3], 2));
    refuses(DepthwiseConv1d { left: 1 }, &specs(&[4, 1, 3], 1));
}

/// A causal convolution is a centred one whose later taps are 0; the one that looks ahead is its mirror image.
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
