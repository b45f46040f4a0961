//! One way to test every operation: shapes, kernel, mathematics, gradients, fences, repeatability, grids.

use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use ndarray::IxDyn;
use polymix::autograd::gradients;
use polymix::exec::{Executor, Plan, reference};
use polymix::gpu::{Gpu, Selection, Tier};
use polymix::graph::{Graph, Tensor};
use polymix::ops::{Array, Op};
use polymix::rng::Rng;
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

/// The adapter under test and the right to use it: on GL a context serves one thread at a time, and gives up on
/// a thread that waits for a second.
pub struct Turn(Arc<Gpu>, #[allow(dead_code)] MutexGuard<'static, ()>);

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
    // A test that failed leaves nothing half-done.
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let gpu = GPU.get_or_init(|| {
        let device = std::env::var("POLYMIX_DEVICE").unwrap_or_default();
        match pollster::block_on(Gpu::new(&Selection { device, cache: None })) {
            Ok(gpu) => {
                let capabilities = gpu.capabilities();
                eprintln!("testing on {} {}", capabilities.backend, capabilities.adapter);
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
    gpu.clone().map(|gpu| Turn(gpu, turn))
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

/// Checks `op`: its kernel against its definition; where `differentiable` of its outputs (the first ones)
/// carry gradients, its derivative against central differences and the derivative's kernel against its
/// definition; on NaN-filled fenced memory, twice; also with workgroups of one invocation and with the
/// kernels of a GPU.
pub fn check_outputs(
    op: impl Op + Clone + 'static,
    args: &[Arg],
    tolerance: Tolerance,
    differentiable: usize,
) {
    let name = op.name();
    let graph = Graph::new();
    let inputs: Vec<Tensor> =
        args.iter().enumerate().map(|(i, arg)| graph.input(format!("x{i}"), arg.spec())).collect();
    let refs: Vec<&Tensor> = inputs.iter().collect();
    let outputs = graph.apply(Arc::new(op.clone()), &refs).unwrap();
    let mut bindings: reference::Bindings =
        args.iter().enumerate().map(|(i, arg)| (format!("x{i}"), arg.values.clone())).collect();

    let mut rng = Rng::new(&[5, args.len() as u32]);
    let mut results: Vec<(String, Tensor)> =
        outputs.iter().enumerate().map(|(i, tensor)| (format!("y{i}"), tensor.clone())).collect();
    let mut slopes = vec![None; args.len()];
    if differentiable > 0 {
        let mut seeds = Vec::new();
        for (i, output) in outputs.iter().enumerate().take(differentiable) {
            let seed = Array::from_shape_simple_fn(IxDyn(output.dims()), || f64::from(rng.normal() as f32));
            bindings.insert(format!("seed{i}"), seed);
            seeds.push(graph.input(format!("seed{i}"), output.spec().clone()));
        }
        let pairs: Vec<(&Tensor, &Tensor)> = outputs.iter().zip(&seeds).collect();
        slopes = gradients(&pairs, &refs).unwrap();
        for (i, slope) in slopes.iter().enumerate() {
            if let Some(slope) = slope {
                results.push((format!("dx{i}"), slope.clone()));
            }
        }
        assert!(slopes.iter().any(Option::is_some), "{name} has no derivative");
    }
    let wanted_refs: Vec<&Tensor> = results.iter().map(|(_, tensor)| tensor).collect();
    let wanted = reference::run(&graph, &mut bindings.clone(), &wanted_refs).unwrap();
    if differentiable > 0 {
        finite_differences(&op, args, &bindings, &slopes, &results, &wanted, differentiable);
    }
    let Some(gpu) = gpu() else { return };
    let named: Vec<(&str, &Tensor)> = results.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    let own = gpu.capabilities().tier;
    for (forced, tier) in [(None, own), (Some(1), own), (None, Tier::Discrete)] {
        let mut capabilities = gpu.capabilities().clone();
        (capabilities.forced_workgroup, capabilities.tier) = (forced, tier);
        let plan = Plan::compile(&graph, &named, &capabilities).unwrap();
        let mut executor = Executor::new(gpu.clone());
        executor.fence();
        let mut loaded = pollster::block_on(executor.load(plan)).unwrap();
        let mut first: Vec<Vec<u32>> = Vec::new();
        for repetition in 0..2 {
            executor.poison(&loaded).unwrap();
            for (key, values) in &bindings {
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
            for (index, ((label, tensor), wanted)) in results.iter().zip(&wanted).enumerate() {
                let bits: Vec<u32> = pollster::block_on(executor.read(&loaded, label)).unwrap();
                if repetition == 1 {
                    assert_eq!(bits, first[index], "{name} {label}: two runs differ");
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
                        "{name} {label}[{at}] of {} (workgroup {forced:?}, {tier:?}): kernel {got}, definition {wanted}",
                        tensor.shape()
                    );
                }
                first.push(bits);
            }
        }
        pollster::block_on(executor.check_fences(&loaded)).unwrap();
    }
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
