use polymix::autograd::gradients;
use polymix::check::cases::scan::{self, scan_args};
use polymix::exec::{Plan, PlanOptions};
use polymix::gpu::Capabilities;
use polymix::graph::{Graph, Tensor};
use polymix::nn::{Context, Mamba, Mixer, Mode};
use polymix::ops::scan::SelectiveScan;
use polymix::ops::{Array, Op};
use polymix::recipe::{Initialization, PaddedFrames};
use polymix::shape::Spec;
use proptest::prelude::*;

use crate::check::{Tolerance, cases, check, each, refuses};
use crate::tiles::tiled;

#[test]
fn selective_scan() {
    each(scan::selective_scan());
    let op = SelectiveScan { reverse: false };
    let specs = |delta: [usize; 3], states: usize, bc: usize, d: usize, lengths: usize| {
        let a_log = Spec::f32([4, states]);
        let (bc, d) = (Spec::f32([2, 9, bc]), Spec::f32([d]));
        [Spec::f32([2, 9, 4]), Spec::f32(delta), a_log, bc, d, Spec::u32([lengths])]
    };
    assert!(op.infer(&specs([2, 9, 4], 16, 32, 4, 2)).is_ok());
    refuses(op, &specs([2, 9, 5], 16, 32, 4, 2));
    refuses(op, &specs([2, 9, 4], 15, 32, 4, 2));
    refuses(op, &specs([2, 9, 4], 16, 16, 4, 2));
    refuses(op, &specs([2, 9, 4], 16, 32, 5, 2));
    refuses(op, &specs([2, 9, 4], 16, 32, 4, 3));
}

#[test]
fn selective_scan_any_shape() {
    proptest!(cases(5), |(time in 1usize..200, channels in 1usize..80, reverse: bool, lengths in prop::collection::vec(0u32..250, 1..4))| {
        check(SelectiveScan { reverse }, &scan_args([time, channels], &lengths), Tolerance::Accumulated);
    });
}

/// 128 chunks: more frames than a loop that an adapter cuts short would get through.
#[test]
fn selective_scan_of_five_minutes() {
    each(scan::five_minutes());
}

/// Two utterances at a time, and the sums over two blocks of channels in one place.
#[test]
fn selective_scan_beyond_one_binding() {
    for reverse in [false, true] {
        let args = scan_args([32, 40], &[32, 7, 31, 0, 32, 16]);
        tiled(SelectiveScan { reverse }, &args, 49_152, true);
    }
}

/// Steps that forget everything at once, or nothing, are no trouble.
#[test]
fn selective_scan_of_extreme_steps() {
    each(scan::extreme_steps());
}

/// Against the flipped utterance, frame by frame.
#[test]
fn selective_scan_reversed_is_that_of_the_mirror_image() {
    let (time, valid, channels) = (150, 101, 3);
    let args = scan_args([time, channels], &[valid as u32]);
    let mirrored = |values: &Array| {
        let width = values.shape()[2];
        Array::from_shape_fn(values.raw_dim(), |at| {
            let t = if at[1] < valid { valid - 1 - at[1] } else { at[1] };
            assert!(at[2] < width);
            values[[at[0], t, at[2]]]
        })
    };
    let values: Vec<&Array> = args.iter().map(|arg| &arg.values).collect();
    let ahead = SelectiveScan { reverse: false }.reference(&values).swap_remove(0);
    let flipped = [0, 1, 3].map(|i: usize| mirrored(values[i]));
    let values = [&flipped[0], &flipped[1], values[2], &flipped[2], values[4], values[5]];
    let back = SelectiveScan { reverse: true }.reference(&values).swap_remove(0);
    for (a, b) in mirrored(&ahead).iter().zip(&back) {
        assert!((a - b).abs() < 1e-12, "{a} {b}");
    }
}

/// The default limits of WebGPU.
fn limits() -> Capabilities {
    Capabilities {
        adapter: "the smallest device".into(),
        max_binding: 128 << 20,
        max_buffer: 256 << 20,
        storage_alignment: 256,
        ..Capabilities::assumed()
    }
}

/// A training step of the mixer over `time` frames.
fn plan(batch: usize, time: usize, width: usize) -> Plan {
    let graph = Graph::new();
    let scope = graph.root();
    let mode = Mode::Training { dropout: 0.1, layer_drop: 0.0 };
    let ctx = Context::new(&scope, batch, time, mode, PaddedFrames::Masked);
    let x = graph.input("x", Spec::f32([batch, time, width]));
    let mamba = Mamba { width, initialization: Initialization::Torch };
    let y = mamba.forward(&scope, &ctx, &x).unwrap();
    let dy = graph.input("dy", y.spec().clone());
    let parameters = graph.parameters();
    let mut wrt = vec![&x];
    wrt.extend(parameters.iter().map(|(_, tensor)| tensor));
    let grads: Vec<Tensor> =
        gradients(&[(&y, &dy)], &wrt).unwrap().into_iter().map(|grad| grad.unwrap()).collect();
    let labels: Vec<String> = (0..grads.len()).map(|i| format!("grad{i}")).collect();
    let outputs: Vec<(&str, &Tensor)> = labels.iter().map(String::as_str).zip(&grads).collect();
    Plan::compile(&graph, &outputs, PlanOptions::default(), &limits()).unwrap()
}

#[test]
fn memory_of_mamba_grows_with_time_and_holds_no_state_per_frame() {
    let (batch, width) = (2, 64);
    // Both on one side of the size from which a value takes any free slot.
    for time in [512, 4096] {
        let [once, twice] = [time, 2 * time].map(|time| plan(batch, time, width));
        let ratio = twice.peak_bytes() as f64 / once.peak_bytes() as f64;
        let states = (batch * time * 2 * width * 16 * 4) as u64;
        let largest = once.slots.iter().copied().max().unwrap();
        println!(
            "{time} frames: {} bytes, twice as many: × {ratio:.3}, largest {largest}",
            once.peak_bytes()
        );
        assert!(ratio <= 2.05, "{time} frames: {ratio}");
        assert!(
            largest < states / 2,
            "{time} frames: {largest} bytes in one buffer, all states take {states}"
        );
    }
}
