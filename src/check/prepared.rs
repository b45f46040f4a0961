//! A case with the expected results of its kernels, and its runs.

use std::collections::HashSet;
use std::sync::Arc;

use super::case::Case;
use super::sample::{Built, Sample};
use crate::error::{Error, Result};
use crate::exec::{Executor, KernelTime, Plan, reference};
use crate::gpu::{Capabilities, Gpu};
use crate::graph::Tensor;
use crate::ops::Array;
use crate::rng::Rng;
use crate::shape::DType;

/// Whether an operation of the plan writes over what it reads.
pub fn works_in_place(plan: &Plan) -> bool {
    plan.in_place > 0
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
    sample: Sample,
    copied: Built,
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
        let (copied, sample) = (Built::new(&case, true)?, Sample::new(case)?);
        let refs: Vec<&Tensor> = sample.plain.results.iter().map(|(_, tensor)| tensor).collect();
        let wanted = reference::run(&sample.plain.graph, &mut sample.bindings.clone(), &refs)?;
        Ok(Self { sample, copied, wanted, done: HashSet::new() })
    }

    /// The case.
    pub fn case(&self) -> &Case {
        &self.sample.case
    }

    /// The case as it can be timed.
    pub(super) fn sample(&self) -> &Sample {
        &self.sample
    }

    /// The plans of the case for a device of these capabilities: one that works nowhere in place, and those that do, where
    /// the operation or its derivative can. What was given before is left out.
    ///
    /// # Errors
    /// When the device's limits do not suffice, or an operation that says that it works in place does not.
    pub fn plans(&mut self, capabilities: &Capabilities) -> Result<Vec<Plan>> {
        let mut plans = self.every_plan(capabilities)?;
        plans.retain(|plan| self.done.insert(signature(plan)));
        Ok(plans)
    }

    /// As [`Prepared::plans`], with what was given before.
    ///
    /// # Errors
    /// As there.
    pub(super) fn every_plan(&self, capabilities: &Capabilities) -> Result<Vec<Plan>> {
        // The derivative may need what the operation would write over.
        let in_place = [
            self.copied.plan(|_| true, capabilities)?,
            self.copied.plan(|label| label.starts_with('y'), capabilities)?,
        ];
        let y = self.sample.plain.results[0].1.spec();
        let could =
            self.sample.case.op.in_place(0).iter().any(|&input| self.sample.case.args[input].spec() == *y);
        if could && y.shape.elements() > 0 && !works_in_place(&in_place[1]) {
            return Err(Error::invalid(format!("{} does not work in place", self.sample.case.op.name())));
        }
        let mut plans = vec![self.sample.plain.plan(|_| true, capabilities)?];
        plans.extend(in_place.into_iter().filter(works_in_place));
        Ok(plans)
    }

    /// The plan like `plan` for other capabilities.
    pub(super) fn same_plan(&self, plan: &Plan, capabilities: &Capabilities) -> Result<Plan> {
        let all = self.sample.plain.results.len() == plan.outputs.len();
        let of: fn(&str) -> bool = if all { |_| true } else { |label| label.starts_with('y') };
        let built = if works_in_place(plan) { &self.copied } else { &self.sample.plain };
        built.plan(of, capabilities)
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
            self.sample.write_inputs(&executor, &loaded)?;
            match repetition {
                0 => executor.run(&mut loaded)?,
                _ => outcome.times = executor.time(&mut loaded).await?,
            }
            let has = |label: &str| loaded.plan().outputs.iter().any(|port| port.name == label);
            let compared =
                self.sample.plain.results.iter().zip(&self.wanted).filter(|((label, _), _)| has(label));
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
        let (tolerance, mut worst, mut fault) = (self.sample.case.tolerance, 0.0_f64, None);
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
        let (args, differentiable) = (&self.sample.case.args, self.sample.case.differentiable);
        let mut rng = Rng::new(&[11]);
        for _ in 0..if differentiable > 0 { 2 } else { 0 } {
            let directions: Vec<Option<Array>> = args
                .iter()
                .zip(&self.sample.plain.gradients_of_args)
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
                let outputs = self.sample.case.op.reference(&refs);
                let weighted =
                    |i: usize| (&outputs[i] * &self.sample.bindings[&format!("cotangent{i}")]).sum();
                (0..differentiable).map(weighted).sum::<f64>()
            };
            let difference = (at(1.0) - at(-1.0)) / (2.0 * step);
            let (mut derivative, mut scale) = (0.0, 1.0_f64);
            for ((label, _), wanted) in self.sample.plain.results.iter().zip(&self.wanted) {
                let index = label.strip_prefix("dx").and_then(|index| index.parse::<usize>().ok());
                let Some(Some(direction)) = index.map(|index| &directions[index]) else { continue };
                let terms = wanted * direction;
                derivative += terms.sum();
                scale = scale.max(terms.mapv(f64::abs).sum());
            }
            if (difference - derivative).abs() > 1e-6 * scale || difference.is_nan() {
                let name = self.sample.case.op.name();
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
