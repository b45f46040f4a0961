//! A case with the values of its operands, which is all that a measurement needs.

use std::sync::Arc;

use ndarray::IxDyn;
use web_time::Instant;

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
pub(super) struct Built {
    pub graph: Graph,
    /// Results by name: `y0` … and, where there are gradients, `dx0` ….
    pub results: Vec<(String, Tensor)>,
    pub gradients_of_args: Vec<Option<Tensor>>,
    in_f16: bool,
}

impl Built {
    /// `copied`: the operation and its derivative get copies of their inputs, whose memory they may take. Inputs and results are
    /// f32, copies may be f16.
    pub fn new(case: &Case, copied: bool) -> Result<Self> {
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
    pub fn plan(&self, of: fn(&str) -> bool, capabilities: &Capabilities) -> Result<Plan> {
        let picked = self.results.iter().filter(|(name, _)| of(name));
        let named: Vec<(&str, &Tensor)> = picked.map(|(name, tensor)| (name.as_str(), tensor)).collect();
        let compute = if self.in_f16 { Compute::F16 } else { Compute::F32 };
        Plan::compile(&self.graph, &named, PlanOptions { compute, ..PlanOptions::default() }, capabilities)
    }
}

/// A case and the values of its operands.
pub(super) struct Sample {
    pub case: Case,
    pub plain: Built,
    pub bindings: reference::Bindings,
}

impl Sample {
    /// Draws the gradients that arrive at the case's outputs.
    ///
    /// # Errors
    /// When the operation refuses its operands, or has no derivative where one is asked for.
    pub fn new(case: Case) -> Result<Self> {
        let plain = Built::new(&case, false)?;
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
        Ok(Self { case, plain, bindings })
    }

    /// The plan that works nowhere in place.
    pub fn plan(&self, capabilities: &Capabilities) -> Result<Plan> {
        self.plain.plan(|_| true, capabilities)
    }

    /// Writes the operands that the plan reads.
    pub fn write_inputs(&self, executor: &Executor, loaded: &Loaded) -> Result<()> {
        for (key, values) in &self.bindings {
            if executor.takes(loaded, key) {
                let arg = key.strip_prefix('x').and_then(|i| self.case.args.get(i.parse::<usize>().ok()?));
                executor.write_input(loaded, key, &bits(values, arg.map_or(DType::F32, |arg| arg.dtype)))?;
            }
        }
        Ok(())
    }

    /// The device's time by kernel, the shortest of several runs; empty where it cannot tell.
    pub async fn times(&self, gpu: &Arc<Gpu>, plan: &Plan) -> Result<Vec<KernelTime>> {
        let mut executor = Executor::new(gpu.clone());
        let mut loaded = executor.load(plan.clone()).await?;
        let mut best: Vec<KernelTime> = Vec::new();
        let began = Instant::now();
        for run in 0..5 {
            // Slow runs vary less.
            if run >= 2 && began.elapsed().as_secs_f64() > 0.5 {
                break;
            }
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
}
