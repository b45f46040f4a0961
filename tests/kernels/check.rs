//! One way to test every operation: shapes, kernel, mathematics, gradients, fences, repeatability, grids.

use std::collections::HashSet;
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use ndarray::IxDyn;
use polymix::autograd::gradients;
use polymix::exec::{Executor, Plan, PlanOptions, reference};
use polymix::gpu::{Capabilities, Gpu, Selection, Tier};
use polymix::graph::{Graph, Tensor};
use polymix::ops::{Array, Op};
use polymix::rng::Rng;
use polymix::shader::MOST_VARIANTS;
use polymix::shape::{DType, Spec};
use proptest::test_runner::{Config, RngSeed};

/// How far a kernel in f32 may be from the f64 definition.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Tolerance {
    /// The same bits: copies, indices, counts.
    Exact,
    /// A few roundings an element: 4e-6 of the element or of 1, whichever is larger.
    Elementwise,
    /// Sums and products: 2e-5 of the tensor's largest magnitude or of 1, whichever is larger.
    Accumulated,
}

impl Tolerance {
    fn allows(self, got: f64, wanted: f64, largest: f64) -> bool {
        match self {
            Self::Exact => got == wanted,
            Self::Elementwise => (got - wanted).abs() <= 4e-6 * wanted.abs().max(1.0),
            Self::Accumulated => (got - wanted).abs() <= 2e-5 * largest.max(1.0),
        }
    }
}

/// One operand of a test.
#[derive(Debug, Clone)]
pub struct Arg {
    pub dtype: DType,
    pub values: Array,
}

impl Arg {
    /// An f32 operand; the values are rounded to f32 so that both executors see the same.
    pub fn f32(dims: &[usize], values: impl FnMut(usize) -> f64) -> Self {
        let count: usize = dims.iter().product();
        let values: Vec<f64> = (0..count).map(values).map(|x| f64::from(x as f32)).collect();
        Self { dtype: DType::F32, values: Array::from_shape_vec(IxDyn(dims), values).unwrap() }
    }

    /// Standard normal values.
    pub fn normal(dims: &[usize], seed: u32) -> Self {
        let mut rng = Rng::new(&[seed, 77]);
        Self::f32(dims, |_| rng.normal())
    }

    /// A u32 operand.
    pub fn u32(dims: &[usize], values: impl FnMut(usize) -> u32) -> Self {
        let count: usize = dims.iter().product();
        let values: Vec<f64> = (0..count).map(values).map(f64::from).collect();
        Self { dtype: DType::U32, values: Array::from_shape_vec(IxDyn(dims), values).unwrap() }
    }

    fn spec(&self) -> Spec {
        Spec { shape: self.values.shape().into(), dtype: self.dtype }
    }
}

/// The adapter under test and, on GL, the right to use it: a context serves one thread at a time, and gives up on a
/// thread that waits for a second.
pub struct Turn(Arc<Gpu>, #[allow(dead_code)] Option<MutexGuard<'static, ()>>);

impl Deref for Turn {
    type Target = Arc<Gpu>;

    fn deref(&self) -> &Arc<Gpu> {
        &self.0
    }
}

/// Waits for the adapter under test; `None` where there is none and `GPU=required` does not ask for one.
pub fn gpu() -> Option<Turn> {
    static GPU: OnceLock<Option<Arc<Gpu>>> = OnceLock::new();
    static TURN: Mutex<()> = Mutex::new(());
    let gpu = GPU.get_or_init(|| {
        let device = std::env::var("POLYMIX_DEVICE").unwrap_or_default();
        match pollster::block_on(Gpu::new(&Selection { device, cache: None })) {
            Ok(gpu) => {
                let capabilities = gpu.capabilities();
                eprintln!(
                    "testing on {} {}, cooperative matrices: {:?}",
                    capabilities.backend, capabilities.adapter, capabilities.cooperative
                );
                Some(Arc::new(gpu))
            }
            Err(error) if std::env::var("GPU").as_deref() == Ok("required") => {
                panic!("GPU=required, and: {error}")
            }
            Err(error) => {
                eprintln!("skipped: {error}");
                None
            }
        }
    });
    let gpu = gpu.clone()?;
    // A test that failed leaves nothing half-done.
    let turn =
        (gpu.capabilities().backend == "gl").then(|| TURN.lock().unwrap_or_else(PoisonError::into_inner));
    Some(Turn(gpu, turn))
}

/// The devices whose kernels the adapter runs in tests: its own, and grids that fold. One adapter, lavapipe, also runs
/// what GPUs are given, and every variant of a kernel that it runs at all; elsewhere they would be compiled for nothing.
fn devices(own: &Capabilities) -> Vec<(String, Capabilities)> {
    let with = |name: &str, change: &dyn Fn(&mut Capabilities)| {
        let mut capabilities = own.clone();
        change(&mut capabilities);
        (name.to_owned(), capabilities)
    };
    let small = with("folded grids and short loops", &|c| (c.fold_grids_at, c.loop_passes) = (2, 600));
    let mut devices = vec![with("own kernels", &|_| {}), small];
    if own.backend == "vulkan" && own.adapter.contains("llvmpipe") {
        devices.push(with("a GPU's kernels", &|c| c.tier = Tier::Discrete));
        let variants = 1..=MOST_VARIANTS as u32;
        devices.extend(variants.map(|n| with(&format!("variant {n}"), &|c| c.alternative = n)));
    }
    devices
}

/// proptest with few cases and a fixed seed.
pub fn cases(count: u32) -> Config {
    Config { cases: count, rng_seed: RngSeed::Fixed(7), failure_persistence: None, ..Config::default() }
}

/// The operation refuses these shapes with an error.
pub fn refuses(op: impl Op, specs: &[Spec]) {
    assert!(op.infer(specs).is_err(), "{} accepts {specs:?}", op.name());
}

/// Checks `op` as [`check_outputs`] does, with a gradient arriving at its first output.
pub fn check(op: impl Op + Clone + 'static, args: &[Arg], tolerance: Tolerance) {
    check_outputs(op, args, tolerance, 1);
}

/// The graph of one operation, its derivative and what is compared.
struct Case {
    graph: Graph,
    /// Results by name: `y0` … and, where there are gradients, `dx0` ….
    results: Vec<(String, Tensor)>,
    slopes: Vec<Option<Tensor>>,
}

impl Case {
    /// With `differentiable` outputs whose gradients are fed. `copied`: the operation and its derivative get copies of
    /// what is fed, whose memory they may take.
    fn new(op: &(impl Op + Clone + 'static), args: &[Arg], differentiable: usize, copied: bool) -> Self {
        let graph = Graph::new();
        let input = |name: String, spec: Spec| {
            let fed = graph.input(name, spec);
            if copied { fed.copy().unwrap() } else { fed }
        };
        let inputs: Vec<Tensor> =
            args.iter().enumerate().map(|(i, arg)| input(format!("x{i}"), arg.spec())).collect();
        let refs: Vec<&Tensor> = inputs.iter().collect();
        let outputs = graph.apply(Arc::new(op.clone()), &refs).unwrap();
        let mut results: Vec<(String, Tensor)> =
            outputs.iter().enumerate().map(|(i, tensor)| (format!("y{i}"), tensor.clone())).collect();
        let mut slopes = vec![None; args.len()];
        if differentiable > 0 {
            let seeds = outputs.iter().take(differentiable).enumerate();
            let seeds: Vec<Tensor> =
                seeds.map(|(i, output)| input(format!("seed{i}"), output.spec().clone())).collect();
            let pairs: Vec<(&Tensor, &Tensor)> = outputs.iter().zip(&seeds).collect();
            slopes = gradients(&pairs, &refs).unwrap();
            for (i, slope) in slopes.iter().enumerate() {
                if let Some(slope) = slope {
                    results.push((format!("dx{i}"), slope.clone()));
                }
            }
            assert!(slopes.iter().any(Option::is_some), "{} has no derivative", op.name());
        }
        Self { graph, results, slopes }
    }

    /// The plan of the results that `of` picks.
    fn plan(&self, of: fn(&str) -> bool, capabilities: &Capabilities) -> Plan {
        let picked = self.results.iter().filter(|(name, _)| of(name));
        let named: Vec<(&str, &Tensor)> = picked.map(|(name, tensor)| (name.as_str(), tensor)).collect();
        Plan::compile(&self.graph, &named, PlanOptions::default(), capabilities).unwrap()
    }
}

fn works_in_place(plan: &Plan) -> bool {
    let adds_in_c = |overrides: &[(&str, f64)]| overrides.contains(&("ADDEND", 2.0));
    plan.dispatches.iter().any(|one| one.kernel.name.contains(" in place of ") || adds_in_c(&one.overrides))
}

/// All that a run of the plan depends on, as text.
fn signature(plan: &Plan) -> String {
    let overrides: Vec<_> = plan.dispatches.iter().map(|one| &one.overrides).collect();
    format!("{}{overrides:?}{:?}", plan.dump(), plan.uniforms)
}

/// Checks `op`: its kernel against its definition; where `differentiable` of its outputs (the first ones)
/// carry gradients, its derivative against central differences and the derivative's kernel against its
/// definition; on NaN-filled fenced memory, twice; for each of [`devices`]; and all of it in place, where the operation
/// or its derivative can. A plan that differs from no earlier one runs once.
pub fn check_outputs(
    op: impl Op + Clone + 'static,
    args: &[Arg],
    tolerance: Tolerance,
    differentiable: usize,
) {
    let name = op.name();
    let plain = Case::new(&op, args, differentiable, false);
    let copied = Case::new(&op, args, differentiable, true);
    let mut bindings: reference::Bindings =
        args.iter().enumerate().map(|(i, arg)| (format!("x{i}"), arg.values.clone())).collect();
    let mut rng = Rng::new(&[5, args.len() as u32]);
    for (i, (_, output)) in plain.results.iter().take(differentiable).enumerate() {
        let seed = Array::from_shape_simple_fn(IxDyn(output.dims()), || f64::from(rng.normal() as f32));
        bindings.insert(format!("seed{i}"), seed);
    }
    let refs: Vec<&Tensor> = plain.results.iter().map(|(_, tensor)| tensor).collect();
    let wanted = reference::run(&plain.graph, &mut bindings.clone(), &refs).unwrap();
    if differentiable > 0 {
        finite_differences(&op, args, &bindings, &plain.slopes, &plain.results, &wanted, differentiable);
    }
    let Some(gpu) = gpu() else { return };
    let mut done = HashSet::new();
    for (device, capabilities) in devices(gpu.capabilities()) {
        let mut plans = vec![plain.plan(|_| true, &capabilities)];
        // The derivative may need what the operation would write over.
        let in_place = [
            copied.plan(|_| true, &capabilities),
            copied.plan(|label| label.starts_with('y'), &capabilities),
        ];
        let y = plain.results[0].1.spec();
        let could = op.in_place(0).iter().any(|&input| args[input].spec() == *y);
        let whole = y.shape.elements() > 0;
        assert!(!(could && whole) || works_in_place(&in_place[1]), "{name} does not work in place");
        plans.extend(in_place.into_iter().filter(works_in_place));
        for plan in plans {
            if !done.insert(signature(&plan)) {
                continue;
            }
            let case = format!("{name} ({device}, in place: {})", works_in_place(&plan));
            run(&gpu, plan, args, &bindings, (&plain.results, &wanted), (tolerance, &case));
        }
    }
}

/// Runs `plan` twice on NaN-filled fenced memory and compares what it gives with the `wanted` values of `results`.
fn run(
    gpu: &Arc<Gpu>,
    plan: Plan,
    args: &[Arg],
    bindings: &reference::Bindings,
    (results, wanted): (&[(String, Tensor)], &[Array]),
    (tolerance, case): (Tolerance, &str),
) {
    let mut executor = Executor::new(gpu.clone());
    executor.fence();
    let mut loaded = pollster::block_on(executor.load(plan)).unwrap();
    let mut first: Vec<Vec<u32>> = Vec::new();
    for repetition in 0..2 {
        executor.poison(&loaded).unwrap();
        for (key, values) in bindings {
            if executor.takes(&loaded, key) {
                let u32s = key.strip_prefix('x').and_then(|i| i.parse::<usize>().ok());
                match u32s.map(|i| args[i].dtype) {
                    Some(DType::U32) => {
                        let data: Vec<u32> = values.iter().map(|&x| x as u32).collect();
                        executor.feed(&loaded, key, &data).unwrap();
                    }
                    _ => {
                        let data: Vec<f32> = values.iter().map(|&x| x as f32).collect();
                        executor.feed(&loaded, key, &data).unwrap();
                    }
                }
            }
        }
        executor.run(&mut loaded).unwrap();
        let has = |label: &str| loaded.plan().outputs.iter().any(|port| port.name == label);
        let compared = results.iter().zip(wanted).filter(|((label, _), _)| has(label));
        for (index, ((label, tensor), wanted)) in compared.enumerate() {
            let bits: Vec<u32> = pollster::block_on(executor.read(&loaded, label)).unwrap();
            if repetition == 1 {
                assert_eq!(bits, first[index], "{case} {label}: two runs differ");
                continue;
            }
            let largest = wanted.iter().fold(0.0_f64, |m, x| m.max(x.abs()));
            for (at, (&bits, &wanted)) in bits.iter().zip(wanted.iter()).enumerate() {
                let got = match tensor.dtype() {
                    DType::F32 => f64::from(f32::from_bits(bits)),
                    DType::U32 => f64::from(bits),
                };
                assert!(
                    tolerance.allows(got, wanted, largest),
                    "{case} {label}[{at}] of {}: kernel {got}, definition {wanted}",
                    tensor.shape()
                );
            }
            first.push(bits);
        }
    }
    pollster::block_on(executor.check_fences(&loaded)).unwrap();
}

/// The derivative along random directions against central differences of the f64 definition.
fn finite_differences(
    op: &impl Op,
    args: &[Arg],
    bindings: &reference::Bindings,
    slopes: &[Option<Tensor>],
    results: &[(String, Tensor)],
    wanted: &[Array],
    differentiable: usize,
) {
    let mut rng = Rng::new(&[11]);
    for _ in 0..2 {
        let directions: Vec<Option<Array>> = args
            .iter()
            .zip(slopes)
            .map(|(arg, slope)| {
                slope.as_ref().map(|_| Array::from_shape_simple_fn(arg.values.raw_dim(), || rng.normal()))
            })
            .collect();
        let step = 1e-5;
        let at = |sign: f64| {
            let moved: Vec<Array> = args
                .iter()
                .zip(&directions)
                .map(|(arg, direction)| match direction {
                    Some(direction) => &arg.values + &(direction * (sign * step)),
                    None => arg.values.clone(),
                })
                .collect();
            let refs: Vec<&Array> = moved.iter().collect();
            let outputs = op.reference(&refs);
            (0..differentiable).map(|i| (&outputs[i] * &bindings[&format!("seed{i}")]).sum()).sum::<f64>()
        };
        let difference = (at(1.0) - at(-1.0)) / (2.0 * step);
        let mut product = 0.0;
        let mut scale = 1.0_f64;
        for (i, direction) in directions.iter().enumerate() {
            let Some(direction) = direction else { continue };
            let label = format!("dx{i}");
            let index = results.iter().position(|(name, _)| *name == label).unwrap();
            let terms = &wanted[index] * direction;
            product += terms.sum();
            scale = scale.max(terms.mapv(f64::abs).sum());
        }
        assert!(
            (difference - product).abs() <= 1e-6 * scale,
            "{}: derivative {product}, central difference {difference}",
            op.name()
        );
    }
}
