//! Predictions of plans: operations and memory by the length of the audio, the published sizes, and that runs
//! allocate what plans predict.

#![cfg(feature = "cli")]

mod adapter;

use adapter::gpu;
use polymix::exec::Plan;
use polymix::gpu::{Capabilities, DeviceClass};
use polymix::profile::{Planned, Point, Subject, Sweep, Workload, gib};
use polymix::recipe::{MixerKind, Recipe};

/// A device of every class, with the limits that every WebGPU device has.
fn devices() -> [Capabilities; 3] {
    [DeviceClass::Cpu, DeviceClass::Integrated, DeviceClass::Discrete]
        .map(|class| Capabilities { class, ..Capabilities::assumed() })
}

/// A model of few channels, so that frames are what is many.
fn small(mixer: MixerKind) -> Subject {
    let text = "[model]\nd_model = 16\nlayers = 2\nffn = 32\nkernel = 7\nheads = 4\nsummary_hidden = 24\n\
                channels = [4, 4]\n[pretrain]\ncodes = 64\n[finetune]\nhead = \"linear\"\n";
    Subject::new(Recipe::parse("small", text, &[format!("model.mixer={mixer}")]).unwrap())
}

fn plan(
    subject: &Subject,
    seconds: f64,
    batch: usize,
    mode: Workload,
    capabilities: &Capabilities,
) -> Planned {
    subject.plan(Point { seconds, batch, mode }, capabilities).unwrap()
}

#[test]
fn models_grow_with_the_length() {
    for mixer in MixerKind::ALL {
        let subject = Subject::base(mixer, &[] as &[&str]).unwrap();
        for mode in Workload::ALL {
            for capabilities in devices() {
                let of = |seconds| plan(&subject, seconds, 1, mode, &capabilities);
                let [ten, forty, eighty] = [10.0, 40.0, 80.0].map(of);
                let case = format!("{mixer}, {mode:?}, {:?}", capabilities.class);
                for (name, value) in [
                    ("flops", (|planned| planned.plan.flops()) as fn(&Planned) -> u64),
                    ("slots", |planned| planned.plan.peak_bytes()),
                    ("live", |planned| planned.plan.lower_bound),
                    ("bytes", |planned| planned.estimate.peak_bytes),
                ] {
                    let [ten, forty, eighty] = [&ten, &forty, &eighty].map(|p| value(p) as f64);
                    let growth = eighty / forty;
                    if name == "flops" && mixer.name().ends_with("-mha") {
                        // Pairs of frames: the products grow faster, and only they.
                        assert!(
                            (2.2..4.0).contains(&growth),
                            "{case}: {name} of 80 s are {growth:.3} of 40 s"
                        );
                        continue;
                    }
                    assert!(growth <= 2.05, "{case}: {name} of 80 s are {growth:.3} of 40 s");
                    // Which values share a slot is no function of the length.
                    let linear = name == "slots" || eighty <= 8.2 * ten;
                    assert!(linear, "{case}: {name} of 80 s are {:.3} of 10 s", eighty / ten);
                    // What hardly grows is not the audio's.
                    let grows = ["slots", "bytes"].contains(&name) || growth >= 1.9;
                    assert!(grows, "{case}: {name} of 80 s are {growth:.3} of 40 s");
                }
            }
        }
    }
}

#[test]
fn no_mixer_holds_a_pair_of_frames() {
    let (seconds, batch) = (80.0, 2);
    for mixer in MixerKind::ALL {
        for mode in [Workload::Infer, Workload::Train] {
            for capabilities in devices() {
                let planned = plan(&small(mixer), seconds, batch, mode, &capabilities);
                let time = Point { seconds, batch, mode }.shape().time() as u64;
                let slots = planned.plan.slots.iter().copied();
                let stored = planned.plan.stored.iter().map(|(_, spec)| spec.bytes());
                let largest = slots.chain(stored).max().unwrap();
                let class = capabilities.class;
                assert!(
                    largest < 4 * time * time,
                    "{mixer}, {mode:?}, {class:?}: {largest} bytes, T = {time}"
                );
            }
        }
    }
}

/// Bytes of the paper's base models with the longest batch of its figure, in GiB.
#[test]
fn base_models_fit_in_memory() {
    for (checkpoint, saved, mode, most) in [
        ("cheap", "f32", Workload::Infer, 1.0),
        ("cheap", "f32", Workload::Train, 9.0),
        ("cheap", "f16", Workload::Train, 5.5),
        ("layer", "f32", Workload::Train, 2.5),
    ] {
        let settings =
            [format!("model.checkpoint={checkpoint:?}"), format!("model.saved_activations={saved:?}")];
        let subject = Subject::base(MixerKind::Pom, &settings).unwrap();
        for capabilities in devices() {
            let planned = plan(&subject, 80.0, 6, mode, &capabilities);
            let peak = gib(planned.estimate.peak_bytes);
            let case = format!("{checkpoint}, {saved}, {mode:?}");
            println!("{case}: {peak:.3} GiB");
            assert!(peak <= most, "{case}: {peak:.3} GiB\n{}", planned.plan.dump_memory());
        }
    }
}

/// Slots take little more than the largest sum of live bytes; in inference, where few values of unlike sizes
/// follow each other, up to a sixth more.
#[test]
fn slots_are_packed() {
    let runs = [
        (Workload::Infer, 20.0, 1),
        (Workload::Infer, 10.0, 6),
        (Workload::Train, 80.0, 6),
        (Workload::Finetune, 15.0, 4),
    ];
    for mixer in MixerKind::ALL {
        for checkpoint in ["none", "cheap", "layer"] {
            let subject = Subject::base(mixer, &[format!("model.checkpoint={checkpoint:?}")]).unwrap();
            for (mode, seconds, batch) in runs {
                let most = if mode == Workload::Infer { 1.17 } else { 1.05 };
                let plan = plan(&subject, seconds, batch, mode, &Capabilities::assumed()).plan;
                let ratio = plan.peak_bytes() as f64 / plan.lower_bound as f64;
                let case = format!("{mixer}, {checkpoint}, {mode:?} of {batch} times {seconds} s");
                println!("{case}: {ratio:.4} times the bound");
                assert!(ratio <= most, "{case}: {ratio:.4} times the bound\n{}", plan.dump_memory());
            }
        }
    }
}

/// Buffers are shared by plans of all shapes, the i-th largest slots one buffer: together they take little more than
/// the plan that takes the most.
#[test]
fn shapes_share_their_memory() {
    for checkpoint in ["cheap", "layer"] {
        let subject = Subject::base(MixerKind::Pom, &[format!("model.checkpoint={checkpoint:?}")]).unwrap();
        for mode in [Workload::Infer, Workload::Train] {
            let shapes = [(3.0, 120), (7.0, 50), (14.0, 25), (24.0, 14), (60.0, 5)];
            let plans = shapes
                .map(|(seconds, batch)| plan(&subject, seconds, batch, mode, &Capabilities::assumed()).plan);
            let pool = Plan::pool_bytes(&plans);
            let most = plans.iter().map(Plan::peak_bytes).max().unwrap();
            let ratio = pool.iter().sum::<u64>() as f64 / most as f64;
            println!("{checkpoint}, {mode:?}: {ratio:.3}");
            assert!(ratio <= 1.1, "{checkpoint}, {mode:?}: {ratio:.3}");
        }
    }
}

/// Operations of the products in an encoder of `frames` feature frames, from the formulas, with the depthwise taps on
/// padding; of Transformer-XL's table of positions, which has no batch, too.
fn encoder(subject: &Subject, batch: u64, frames: u64) -> u64 {
    let model = &subject.recipe.model;
    let [d, ffn, kernel] = [model.d_model, model.ffn, model.kernel].map(|n| n as u64);
    let [first, second] = model.channels.map(|n| n as u64);
    let time = frames.div_ceil(2).div_ceil(2);
    let feed_forward = 2 * d * ffn;
    let state = (model.degree * model.expand) as u64 * d;
    let mixer = match subject.mixer.as_str() {
        "pom" => 3 * d * state,
        "regular-mha" | "rope-mha" => 4 * d * d + 2 * time * d,
        "relpos-mha" => 4 * d * d + 3 * time * d,
        other => panic!("no formula for {other}"),
    };
    let convolution = d * 2 * d + d * kernel + d * d;
    let layer = 2 * feed_forward + mixer + convolution;
    let table = if subject.mixer == "relpos-mha" { time * d * d } else { 0 };
    let frontend = frames.div_ceil(2) * 40 * first * 9 + time * (20 * second * first * 9 + 20 * second * d);
    2 * (batch * frontend + model.layers as u64 * (batch * time * layer + table))
}

/// Forward and backward of the BEST-RQ loss: every product has two in the backward pass, but the first convolution
/// and the product with the sinusoids, which have one, for their weight, and the quantizer's, which have none.
fn training(subject: &Subject, batch: u64, frames: u64) -> u64 {
    let Recipe { model, pretrain, .. } = &subject.recipe;
    let time = frames / 4;
    let rows = batch * polymix::models::most_masked(frames as usize, pretrain) as u64;
    let [codes, dim, d] = [pretrain.codes, pretrain.code_dim, model.d_model].map(|n| n as u64);
    let first = 2 * batch * frames.div_ceil(2) * 40 * model.channels[0] as u64 * 9;
    let table = if subject.mixer == "relpos-mha" { 2 * model.layers as u64 * time * d * d } else { 0 };
    let quantizer = 2 * rows * (320 * dim + dim * codes);
    3 * (encoder(subject, batch, frames) + 2 * rows * d * codes) - first - table + quantizer
}

#[test]
fn operations_are_those_of_the_formulas_on_every_device() {
    let mixers = [MixerKind::Pom, MixerKind::RegularMha, MixerKind::RopeMha, MixerKind::RelposMha];
    let base = mixers.map(|mixer| Subject::base(mixer, &[] as &[&str]).unwrap());
    for subject in mixers.map(small).into_iter().chain(base) {
        let (seconds, batch) = (10.1, 2);
        let frames = Point { seconds, batch, mode: Workload::Infer }.shape().frames as u64;
        for capabilities in devices() {
            // Where less can be bound, convolutions are split.
            for max_binding in [capabilities.max_binding, 20 << 20] {
                let capabilities = Capabilities { max_binding, ..capabilities.clone() };
                let flops = |mode| plan(&subject, seconds, batch, mode, &capabilities).plan.flops();
                let case =
                    format!("{}, width {}, {capabilities:?}", subject.mixer, subject.recipe.model.d_model);
                assert_eq!(flops(Workload::Infer), encoder(&subject, batch as u64, frames), "{case}");
                assert_eq!(flops(Workload::Train), training(&subject, batch as u64, frames), "{case}");
            }
        }
    }
}

#[test]
fn runs_take_the_memory_that_plans_say() {
    let Some(gpu) = gpu() else { return };
    for mode in Workload::ALL {
        let sweep = Sweep {
            subjects: MixerKind::ALL.map(small).into(),
            seconds: vec![0.7, 1.5],
            batch: 2,
            mode,
            repeat: 2,
            kernels: true,
            budget: None,
            card: None,
            link: None,
        };
        let planned = sweep.estimate(gpu.capabilities(), &mut |_| {}).unwrap();
        let measured = sweep.measure(&gpu, &mut |_| {}).unwrap();
        assert_eq!((planned.left_out.len(), measured.left_out.len()), (0, 0), "{:?}", measured.left_out);
        assert_eq!(measured.rows.len(), 2 * MixerKind::ALL.len());
        for (planned, measured) in planned.rows.iter().zip(&measured.rows) {
            let case = format!("{}, {} s, {mode:?}", measured.mixer, measured.seconds);
            assert_eq!(
                (&planned.mixer, planned.seconds, planned.parameters, planned.flops, planned.peak_bytes),
                (&measured.mixer, measured.seconds, measured.parameters, measured.flops, measured.peak_bytes),
                "{case}"
            );
            let [min, median, max] =
                [measured.ms_min, measured.ms_median, measured.ms_max].map(Option::unwrap);
            assert!(0.0 < min && min <= median && median <= max && measured.runs == 2, "{case}");
            assert_eq!(measured.update_ms.is_some(), matches!(mode, Workload::Train | Workload::Finetune));
            if gpu.capabilities().timestamps {
                let sum = measured.kernels.iter().map(|kernel| kernel.flops).sum::<u64>();
                assert_eq!(sum, measured.flops, "{case}");
                let dispatches = measured.kernels.iter().map(|kernel| kernel.dispatches).sum::<usize>();
                assert_eq!(dispatches, measured.dispatches, "{case}");
            }
        }
        assert_eq!(gpu.allocated(), 0, "all of it is given back");
    }
}

#[test]
fn what_takes_too_long_is_left_out_and_named() {
    let Some(gpu) = gpu() else { return };
    let sweep = Sweep {
        subjects: vec![small(MixerKind::Pom)],
        seconds: vec![0.7, 2000.0],
        batch: 1,
        mode: Workload::Infer,
        repeat: 1,
        kernels: false,
        budget: Some(std::time::Duration::ZERO),
        card: None,
        link: None,
    };
    let report = sweep.measure(&gpu, &mut |_| {}).unwrap();
    assert!(report.rows.is_empty());
    let left_out: Vec<(f64, bool)> =
        report.left_out.iter().map(|one| (one.seconds, one.reason.contains("the budget"))).collect();
    assert_eq!(left_out, [(0.7, true), (2000.0, true)]);
}

#[test]
fn what_the_device_cannot_hold_is_left_out_and_named() {
    let Some(gpu) = gpu() else { return };
    // Each feed-forward weight has 4 GiB, which no binding holds.
    let text = "[model]\nd_model = 16384\nlayers = 256\nffn = 65536\nexpand = 1\ndegree = 1\n";
    let sweep = Sweep {
        subjects: vec![Subject::new(Recipe::parse("huge", text, &[] as &[&str]).unwrap())],
        seconds: vec![1.0],
        batch: 1,
        mode: Workload::Infer,
        repeat: 1,
        kernels: false,
        budget: None,
        card: None,
        link: None,
    };
    let mut told = Vec::new();
    let report = sweep
        .measure(&gpu, &mut |news| {
            if let polymix::profile::News::LeftOut(one) = news {
                told.push(one.clone());
            }
        })
        .unwrap();
    assert!(report.rows.is_empty());
    assert_eq!(told, report.left_out);
    assert_eq!(told.len(), 1);
    assert!(told[0].reason.contains(&gpu.capabilities().adapter), "{}", told[0].reason);
}
