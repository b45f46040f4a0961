use super::*;
use crate::exec::{Class, Place};
use crate::profile::{Point, Subject, Workload};
use crate::recipe::{MixerKind, Recipe};
use crate::shader::Kernel;
use crate::shader::map::activation;
use crate::shader::matmul::matmul;

/// A card of round figures.
fn round() -> Card {
    let text = "name = \"round\"\nf32_tflops = 1\nf16_tflops = 1\nbandwidth_gbps = 100\nmemory_gib = 8\nunits = 10\n\
                vector_share = 0.5\nmemory_share = 0.5\nlaunch_us = 10\n";
    Card::parse("round.toml", text).unwrap()
}

fn dispatch(kernel: &'static Kernel, groups: [u32; 3], bytes: &[u64], flops: u64) -> Dispatch {
    let regions = bytes.iter().enumerate();
    let bindings = regions.map(|(slot, &bytes)| Region { place: Place::Slot(slot), offset: 0, bytes });
    let (bindings, path) = (bindings.collect(), String::new());
    let (class, unmet) = (Class { rule: kernel.name, large: None }, Vec::new());
    Dispatch {
        kernel,
        variants: &[],
        class,
        unmet,
        overrides: Vec::new(),
        f16: 0,
        bindings,
        params: 0,
        groups,
        path,
        work: 0.0,
        flops,
    }
}

fn near(value: f64, wanted: f64) -> bool {
    (value - wanted).abs() < 1e-6 * wanted
}

#[test]
fn a_small_plan_is_modelled_as_by_hand() {
    // 300 tiles of 2 MFLOP by 20 workgroups at once, each at 1e12 · 0.5 · 0.69 / 20 = 17.25 GFLOP/s: 15 rounds of
    // 2 / 17.25 ms and 8 µs; 8 MB at 50 GB/s would be 0.16 ms.
    let matmul = dispatch(&matmul::TILED.kernel, [30, 10, 1], &[4_000_000, 4_000_000], 600_000_000);
    let arithmetic = 15.0 * (2.0 / 17.25 + 0.008);
    // 5 MB at 50 GB/s.
    let activation = dispatch(&activation::KERNEL.kernel, [7, 1, 1], &[2_500_000, 2_500_000], 0);
    let plan = Plan { dispatches: vec![matmul, activation.clone(), activation], ..Plan::default() };
    let mut cost = Cost::of(&plan, None, &round());
    assert!(near(cost.modelled_ms, arithmetic + 0.1 + 0.1 + 3.0 * 0.01), "{cost:?}");
    // 600 MFLOP at 1 TFLOP/s; 5 MB twice at 100 GB/s.
    assert!(near(cost.floor_ms, 0.6 + 0.05 + 0.05), "{cost:?}");
    let names = |all: &[KernelCost]| all.iter().map(|one| one.kernel.clone()).collect::<Vec<_>>();
    assert_eq!(names(&cost.classes), ["matmul", "map"]);
    assert_eq!(names(&cost.kernels), [matmul::TILED.kernel.name, activation::KERNEL.kernel.name]);
    let map = &cost.classes[1];
    assert_eq!((map.dispatches, map.flops, map.bytes), (2, 0, 10_000_000));
    assert!(near(map.memory_ms, 0.2) && near(map.launch_ms, 0.02) && map.compute_ms == 0.0, "{map:?}");
    assert!(near(cost.classes[0].compute_ms, arithmetic) && cost.classes[0].memory_ms == 0.0);

    // Measured at five times its floor, and at twice.
    let time = |kernel: &'static Kernel, milliseconds| KernelTime {
        kernel: kernel.name,
        dispatches: 1,
        milliseconds,
        flops: 0,
        bytes: 0,
    };
    cost.measured(&[time(&matmul::TILED.kernel, 1.2), time(&activation::KERNEL.kernel, 0.5)]);
    assert!(near(cost.kernels[1].times_the_floor(), 5.0));
    assert_eq!(cost.classes[1].measured_ms, Some(0.5));
    assert_eq!(
        names(&cost.far_from_their_floor().into_iter().cloned().collect::<Vec<_>>()),
        ["map/activation"]
    );
}

#[test]
fn ranks_share_a_ring() {
    let step = StepCost { micro_batch_ms: 90.0, update_ms: 10.0, gradient_bytes: 400_000_000, peak_bytes: 1 };
    // Of 4 ranks each sends 3/4 of the gradients twice: 600 MB at 10 GB/s.
    let four = step.on(Link { ranks: 4, gbps: 10.0 });
    assert!(near(four.exchange_ms, 60.0) && near(four.step_ms, 160.0) && near(four.efficiency, 0.625));
    let one = step.on(Link { ranks: 1, gbps: 10.0 });
    assert!(one.exchange_ms == 0.0 && near(one.efficiency, 1.0));
}

#[test]
fn a_model_costs_what_its_plan_does() {
    let text = "[model]\nd_model = 16\nlayers = 1\nffn = 32\nkernel = 7\nchannels = [4, 4]\n[pretrain]\ncodes = 64\n";
    let subject = Subject::new(Recipe::parse("small", text, &[] as &[&str]).unwrap());
    let point = Point { seconds: 1.0, batch: 2, mode: Workload::Train };
    let card = Card { memory_gib: 1.0, ..round() };
    let planned = subject.plan(point, &card.capabilities()).unwrap();
    let cost = planned.cost(&card);
    let sum = |value: fn(&KernelCost) -> u64| cost.classes.iter().map(value).sum::<u64>();
    assert_eq!(sum(|class| class.flops), planned.plan.flops());
    assert_eq!(sum(|class| class.bytes), planned.estimate.bound_bytes);
    assert_eq!(sum(|class| class.dispatches as u64), planned.estimate.dispatches as u64);
    let kernels: f64 = cost.kernels.iter().map(|kernel| kernel.modelled_ms).sum();
    assert!(near(kernels, cost.modelled_ms) && cost.floor_ms < cost.modelled_ms);
    let step = subject.step_cost(point, &card).unwrap();
    assert_eq!(step.gradient_bytes, 4 * planned.estimate.parameters as u64);
    assert_eq!((step.micro_batch_ms, Some(step.update_ms)), (cost.modelled_ms, cost.update_ms));
    assert!(step.update_ms > 0.01, "{step:?}");
    let untrained = subject.step_cost(Point { mode: Workload::Infer, ..point }, &card).unwrap_err();
    assert!(untrained.to_string().contains("infer trains nothing"), "{untrained}");

    assert_eq!(card.obstacle(&planned.estimate), None);
    let large = crate::profile::Estimate { peak_bytes: 3 << 30, ..planned.estimate };
    assert_eq!(card.obstacle(&large).unwrap(), "holds 3.00 GiB, round has 1.00 GiB");
}

/// Milliseconds that an H100 was measured to take, RESULTS.md, commits ce83cab (f32) and 04a4224 (f16).
const MEASURED: [(MixerKind, Workload, &str, f64, f64); 8] = [
    (MixerKind::Pom, Workload::Infer, "f32", 10.0, 16.0),
    (MixerKind::Pom, Workload::Infer, "f32", 80.0, 82.8),
    (MixerKind::Pom, Workload::Infer, "f16", 80.0, 47.3),
    (MixerKind::Pom, Workload::Train, "f32", 10.0, 54.1),
    (MixerKind::Pom, Workload::Train, "f32", 80.0, 309.4),
    (MixerKind::Pom, Workload::Train, "f16", 80.0, 211.9),
    (MixerKind::RegularMha, Workload::Infer, "f32", 80.0, 182.6),
    (MixerKind::RelposMha, Workload::Infer, "f32", 80.0, 213.9),
];

/// The dispatches of these runs as `polymix profile --dry-run --plan` listed them at 02aa4d3, a line for equal ones: the
/// run's number, how many, kernel, workgroups, operations, bytes bound, bytes read. Later plans are not what was measured.
const DISPATCHES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/profile/cost/h100.tsv");

#[test]
fn an_h100_takes_what_was_measured() {
    let card = Card::load("h100").unwrap();
    let mut modelled = [0.0; MEASURED.len()];
    for line in std::fs::read_to_string(DISPATCHES).unwrap().lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        let number = |index: usize| fields[index].parse::<f64>().unwrap();
        let [groups, flops, bytes, read] = [3, 4, 5, 6].map(number);
        let work = Work { kernel: fields[2], groups, flops, bytes, read };
        modelled[number(0) as usize] += number(1) * work.time(&card).milliseconds();
    }
    for ((mixer, mode, compute, seconds, measured), modelled) in MEASURED.into_iter().zip(modelled) {
        let ratio = modelled / measured;
        let case = format!("{mixer}, {mode:?}, {compute}, {seconds} s: {modelled:.1} of {measured:.1} ms");
        println!("{case}: {ratio:.2}");
        assert!((ratio - 1.0).abs() < card.accuracy, "{case}");
    }
}
