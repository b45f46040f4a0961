//! A case with the expected results of its kernels, and its runs.

use std::collections::HashSet;
use std::sync::Arc;

use ndarray::IxDyn;

use super::case::{Case, bits, nearest_f16};
use crate::autograd::gradients;
use crate::error::{Error, Result};
use crate::exec::{Compute, Executor, KernelTime, Loaded, Plan, PlanOptions, reference};
use crate::gpu::{Capabilities, Gpu};
use crate::graph::{Graph, Tensor};
use crate::ops::Array;
use crate::rng::Rng;
use crate::shape::DType;

/// The graph of one operation and its derivative.
struct Built {
    graph: Graph,
    /// Results by name: `y0` … and, where there are gradients, `dx0` ….
    results: Vec<(String, Tensor)>,
    gradients_of_args: Vec<Option<Tensor>>,
    in_f16: bool,
}

impl Built {
    /// `copied`: the operation and its derivative get copies of their inputs, whose memory they may take. Inputs and results are
    /// f32, copies may be f16.
    fn new(case: &Case, copied: bool) -> Result<Self> {
        let graph = Graph::new();
        let copied = copied || case.in_f16;
        let read = |tensor: &Tensor| {
            let is_f16 = case.in_f16 && tensor.dtype() == DType::F32;
            if is_f16 { tensor.copy() } else { Ok(tensor.clone()) }
        };
        let input = |name: String, spec| {
            let given = graph.input(name, spec);
            if copied { given.copy() } else { Ok(given) }
        };
        let specs = case.args.iter().enumerate();
        let inputs: Vec<Tensor> =
            specs.map(|(i, arg)| input(format!("x{i}"), arg.spec())).collect::<Result<_>>()?;
        let refs: Vec<&Tensor> = inputs.iter().collect();
        let outputs = case.apply(&graph, &refs)?;
        let mut results: Vec<(String, Tensor)> = Vec::new();
        for (i, tensor) in outputs.iter().enumerate() {
            results.push((format!("y{i}"), read(tensor)?));
        }
        let mut gradients_of_args = vec![None; case.args.len()];
        if case.differentiable > 0 {
            let differentiable = outputs.iter().take(case.differentiable).enumerate();
            let cotangents: Vec<Tensor> = differentiable
                .map(|(i, output)| input(format!("cotangent{i}"), output.spec().clone()))
                .collect::<Result<_>>()?;
            let pairs: Vec<(&Tensor, &Tensor)> = outputs.iter().zip(&cotangents).collect();
            gradients_of_args = gradients(&pairs, &refs)?;
            for (i, gradient) in gradients_of_args.iter().enumerate() {
                if let Some(gradient) = gradient {
                    results.push((format!("dx{i}"), read(gradient)?));
                }
            }
            if gradients_of_args.iter().all(Option::is_none) {
                return Err(Error::invalid(format!("{} has no derivative", case.op.name())));
            }
        }
        Ok(Self { graph, results, gradients_of_args, in_f16: case.in_f16 })
    }

    /// The plan of the results that `of` picks.
    fn plan(&self, of: fn(&str) -> bool, capabilities: &Capabilities) -> Result<Plan> {
        let picked = self.results.iter().filter(|(name, _)| of(name));
        let named: Vec<(&str, &Tensor)> = picked.map(|(name, tensor)| (name.as_str(), tensor)).collect();
        let compute = if self.in_f16 { Compute::F16 } else { Compute::F32 };
        Plan::compile(&self.graph, &named, PlanOptions { compute, ..PlanOptions::default() }, capabilities)
    }
}

/// Whether a dispatch of the plan writes over what it reads.
pub fn works_in_place(plan: &Plan) -> bool {
    let takes_other = |overrides: &[(&str, f64)]| overrides.contains(&("OTHER", 2.0));
    plan.dispatches.iter().any(|one| one.kernel.name.contains(" in place of ") || takes_other(&one.overrides))
}

/// All that a run of the plan depends on, as text.
fn signature(plan: &Plan) -> String {
    let overrides: Vec<_> = plan.dispatches.iter().map(|one| &one.overrides).collect();
    format!("{}{overrides:?}{:?}", plan.dump(), plan.uniforms)
}

/// How far one result of a run was from the definition.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    /// Its name: `y0` … of the operation, `dx0` … of its derivative.
    pub result: String,
    /// The largest error of an element, in the unit of its [`Tolerance`](super::Tolerance).
    pub error: f64,
    /// The kernel that wrote it last.
    pub kernel: &'static str,
}

/// The result of a run.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// How far each result was off.
    pub differences: Vec<Difference>,
    /// The fault, in words.
    pub faults: Vec<String>,
    /// The device's time by kernel, where it can tell.
    pub times: Vec<KernelTime>,
}

/// A case with what its kernels should give.
pub struct Prepared {
    case: Case,
    plain: Built,
    copied: Built,
    bindings: reference::Bindings,
    wanted: Vec<Array>,
    /// Plans that have run, by [`signature`].
    done: HashSet<String>,
}

impl Prepared {
    /// Computes what the definition gives.
    ///
    /// # Errors
    /// When the operation refuses its operands, or has no derivative where one is asked for.
    pub fn new(case: Case) -> Result<Self> {
        let (plain, copied) = (Built::new(&case, false)?, Built::new(&case, true)?);
        let args = case.args.iter().enumerate();
        let mut bindings: reference::Bindings =
            args.map(|(i, arg)| (format!("x{i}"), arg.values.clone())).collect();
        let mut rng = Rng::new(&[5, case.args.len() as u32]);
        for (i, (_, output)) in plain.results.iter().take(case.differentiable).enumerate() {
            let mut one = || f64::from(rng.normal() as f32);
            let mut cotangent = Array::from_shape_simple_fn(IxDyn(output.dims()), &mut one);
            if case.in_f16 {
                cotangent.mapv_inplace(nearest_f16);
            }
            bindings.insert(format!("cotangent{i}"), cotangent);
        }
        let refs: Vec<&Tensor> = plain.results.iter().map(|(_, tensor)| tensor).collect();
        let wanted = reference::run(&plain.graph, &mut bindings.clone(), &refs)?;
        Ok(Self { case, plain, copied, bindings, wanted, done: HashSet::new() })
    }

    /// The case.
    pub fn case(&self) -> &Case {
        &self.case
    }

    /// The plans of the case for a device of these capabilities: one that works nowhere in place, and those that do, where
    /// the operation or its derivative can. What was given before is left out.
    ///
    /// # Errors
    /// When the device's limits do not suffice, or an operation that says that it works in place does not.
    pub fn plans(&mut self, capabilities: &Capabilities) -> Result<Vec<Plan>> {
        // The derivative may need what the operation would write over.
        let in_place = [
            self.copied.plan(|_| true, capabilities)?,
            self.copied.plan(|label| label.starts_with('y'), capabilities)?,
        ];
        let y = self.plain.results[0].1.spec();
        let could = self.case.op.in_place(0).iter().any(|&input| self.case.args[input].spec() == *y);
        if could && y.shape.elements() > 0 && !works_in_place(&in_place[1]) {
            return Err(Error::invalid(format!("{} does not work in place", self.case.op.name())));
        }
        let mut plans = vec![self.plain.plan(|_| true, capabilities)?];
        plans.extend(in_place.into_iter().filter(works_in_place));
        plans.retain(|plan| self.done.insert(signature(plan)));
        Ok(plans)
    }

    /// The plan like `plan` for other capabilities.
    pub(super) fn same_plan(&self, plan: &Plan, capabilities: &Capabilities) -> Result<Plan> {
        let all = self.plain.results.len() == plan.outputs.len();
        let of: fn(&str) -> bool = if all { |_| true } else { |label| label.starts_with('y') };
        let built = if works_in_place(plan) { &self.copied } else { &self.plain };
        built.plan(of, capabilities)
    }

    /// The plan that works nowhere in place.
    pub(super) fn plain_plan(&self, capabilities: &Capabilities) -> Result<Plan> {
        self.plain.plan(|_| true, capabilities)
    }

    fn write_inputs(&self, executor: &Executor, loaded: &Loaded) -> Result<()> {
        for (key, values) in &self.bindings {
            if executor.takes(loaded, key) {
                let arg = key.strip_prefix('x').and_then(|i| self.case.args.get(i.parse::<usize>().ok()?));
                executor.write_input(loaded, key, &bits(values, arg.map_or(DType::F32, |arg| arg.dtype)))?;
            }
        }
        Ok(())
    }

    /// The device's time by kernel, the shortest of several runs; empty where it cannot tell.
    pub(super) async fn times(&self, gpu: &Arc<Gpu>, plan: &Plan) -> Result<Vec<KernelTime>> {
        let mut executor = Executor::new(gpu.clone());
        let mut loaded = executor.load(plan.clone()).await?;
        let mut best: Vec<KernelTime> = Vec::new();
        for _ in 0..5 {
            self.write_inputs(&executor, &loaded)?;
            for time in executor.time(&mut loaded).await? {
                match best.iter_mut().find(|known| known.kernel == time.kernel) {
                    Some(known) => known.milliseconds = known.milliseconds.min(time.milliseconds),
                    None => best.push(time),
                }
            }
        }
        Ok(best)
    }

    /// Runs `plan` twice on NaN-filled fenced memory and compares what it gives with the definition, and the second run
    /// with the first.
    ///
    /// # Errors
    /// When the device refuses a kernel, is out of memory or lost.
    pub async fn run(&self, gpu: &Arc<Gpu>, plan: Plan) -> Result<Outcome> {
        let mut executor = Executor::new(gpu.clone());
        executor.fence();
        let mut loaded = executor.load(plan).await?;
        let mut outcome = Outcome::default();
        let mut first: Vec<Vec<u32>> = Vec::new();
        for repetition in 0..2 {
            executor.poison(&loaded)?;
            self.write_inputs(&executor, &loaded)?;
            match repetition {
                0 => executor.run(&mut loaded)?,
                _ => outcome.times = executor.time(&mut loaded).await?,
            }
            let has = |label: &str| loaded.plan().outputs.iter().any(|port| port.name == label);
            let compared = self.plain.results.iter().zip(&self.wanted).filter(|((label, _), _)| has(label));
            for (index, ((label, tensor), wanted)) in compared.enumerate() {
                let bits: Vec<u32> = executor.read(&loaded, label).await?;
                if repetition == 1 {
                    if bits != first[index] {
                        outcome.faults.push(format!("{label}: two runs differ"));
                    }
                    continue;
                }
                let (error, fault) = self.compare(&bits, tensor, wanted);
                let kernel = writer(loaded.plan(), label);
                outcome.differences.push(Difference { result: label.clone(), error, kernel });
                outcome.faults.extend(fault.map(|fault| format!("{label}{fault}")));
                first.push(bits);
            }
        }
        if let Err(error) = executor.check_fences(&loaded).await {
            match error {
                Error::Gpu(fault) => outcome.faults.push(fault),
                error => return Err(error),
            }
        }
        Ok(outcome)
    }

    /// The largest error, and what is to say of the first element that is too far off.
    fn compare(&self, bits: &[u32], tensor: &Tensor, wanted: &Array) -> (f64, Option<String>) {
        let (tolerance, mut worst, mut fault) = (self.case.tolerance, 0.0_f64, None);
        let largest = wanted.iter().fold(0.0_f64, |m, x| m.max(x.abs()));
        for (at, (&bits, &wanted)) in bits.iter().zip(wanted.iter()).enumerate() {
            let got = match tensor.dtype() {
                DType::U32 => f64::from(bits),
                _ => f64::from(f32::from_bits(bits)),
            };
            let error = tolerance.error(got, wanted, largest);
            worst = worst.max(error);
            if error > tolerance.bound() && fault.is_none() {
                let shape = tensor.shape();
                fault = Some(format!("[{at}] of {shape}: the kernel gives {got}, the definition {wanted}"));
            }
        }
        (worst, fault)
    }

    /// The derivative along random directions against central differences of the definition, all in f64.
    ///
    /// # Errors
    /// When they differ.
    pub fn check_derivative(&self) -> Result<()> {
        let (args, differentiable) = (&self.case.args, self.case.differentiable);
        let mut rng = Rng::new(&[11]);
        for _ in 0..if differentiable > 0 { 2 } else { 0 } {
            let directions: Vec<Option<Array>> = args
                .iter()
                .zip(&self.plain.gradients_of_args)
                .map(|(arg, gradient)| {
                    gradient
                        .as_ref()
                        .map(|_| Array::from_shape_simple_fn(arg.values.raw_dim(), || rng.normal()))
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
                let outputs = self.case.op.reference(&refs);
                let weighted = |i: usize| (&outputs[i] * &self.bindings[&format!("cotangent{i}")]).sum();
                (0..differentiable).map(weighted).sum::<f64>()
            };
            let difference = (at(1.0) - at(-1.0)) / (2.0 * step);
            let (mut derivative, mut scale) = (0.0, 1.0_f64);
            for ((label, _), wanted) in self.plain.results.iter().zip(&self.wanted) {
                let index = label.strip_prefix("dx").and_then(|index| index.parse::<usize>().ok());
                let Some(Some(direction)) = index.map(|index| &directions[index]) else { continue };
                let terms = wanted * direction;
                derivative += terms.sum();
                scale = scale.max(terms.mapv(f64::abs).sum());
            }
            if (difference - derivative).abs() > 1e-6 * scale || difference.is_nan() {
                let name = self.case.op.name();
                let message = format!("{name}: derivative {derivative}, central difference {difference}");
                return Err(Error::invalid(message));
            }
        }
        Ok(())
    }
}

/// The plans of a case whose results are not compared.
#[cfg(test)]
pub(super) fn plans_alone(case: &Case, capabilities: &Capabilities) -> Result<Vec<Plan>> {
    let (plain, copied) = (Built::new(case, false)?, Built::new(case, true)?);
    Ok(vec![
        plain.plan(|_| true, capabilities)?,
        copied.plan(|_| true, capabilities)?,
        copied.plan(|label| label.starts_with('y'), capabilities)?,
    ])
}

/// The kernel of the last dispatch that writes the output `label`.
fn writer(plan: &Plan, label: &str) -> &'static str {
    let Some(port) = plan.outputs.iter().find(|port| port.name == label) else { return "" };
    let (place, start) = (port.region.place, port.region.offset);
    let end = start + port.region.bytes;
    let writes = plan.dispatches.iter().rev().find(|dispatch| {
        dispatch.bindings.iter().zip(dispatch.kernel.bindings).any(|(region, binding)| {
            binding.write
                && region.place == place
                && region.offset < end
                && start < region.offset + region.bytes
        })
    });
    writes.map_or("", |dispatch| dispatch.kernel.name)
}
