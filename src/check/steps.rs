//! Whole training steps of a small model beside the reference executor: loss, gradients, parameters after the update.

use std::sync::Arc;

use ndarray::IxDyn;

use super::case::Arg;
use super::report::StepReport;
use crate::audio::BANDS;
use crate::autograd::gradients;
use crate::error::Result;
use crate::exec::{Compute, Executor, Loaded, Plan, PlanOptions, reference};
use crate::gpu::Gpu;
use crate::graph::{Graph, Parameter, Tensor};
use crate::models::{CtcHead, CtcModel, Encoder, EncoderInputs, frames_after};
use crate::nn::{Context, Mode};
use crate::ops::Array;
use crate::ops::optimizer::{AdamW, ClipGradNorm, SquaredNorm};
use crate::recipe::{Head, ModelConfig};
use crate::shape::Spec;

const UTTERANCES: usize = 2;
const FRAMES: usize = 40;
const TOKENS: usize = 12;
/// Room for the longest target.
const CAPACITY: usize = 4;
/// With so large an eps an update follows from the gradient smoothly, also where that is 0 but for rounding.
const RULE: AdamW = AdamW { beta1: 0.9, beta2: 0.98, eps: 1e-2 };

/// What the loss is multiplied by in f16, as in training: its gradients would be below the smallest f16.
const LOSS_SCALE: f32 = 4096.0;

/// More deviations than values of a norm have.
const FRONT_END_BIAS: f32 = 6.0;

/// The graphs of a step: forward, loss and backward, which store the gradients; and the update.
struct Step {
    graph: Graph,
    update: Graph,
    parameters: Vec<(Parameter, Tensor)>,
    /// The loss and every parameter's gradient.
    outputs: Vec<Tensor>,
    inputs: Vec<(&'static str, Arg)>,
}

impl Step {
    /// The loss's gradient is `loss_scale`, of which the update makes 1.
    fn new(loss_scale: f32) -> Result<Self> {
        let graph = Graph::new();
        let scope = graph.root();
        let model = ModelConfig {
            d_model: 32,
            layers: 2,
            ffn: 48,
            kernel: 7,
            heads: 4,
            channels: [8, 4],
            ..ModelConfig::default()
        };
        let time = frames_after(FRAMES);
        let mode = Mode::Training { dropout: 0.1, layer_drop: 0.0 };
        let ctx = Context::new(&scope, UTTERANCES, time, mode, model.padding);
        let features = scope.input("features", Spec::f32([UTTERANCES, FRAMES, BANDS]));
        let head = CtcHead { head: Head::Linear, width: 32, dropout: 0.0, vocabulary: TOKENS };
        let model = CtcModel::new(Encoder::new(&model, BANDS), head);
        let (logits, _) = model.forward(&scope, &ctx, &features)?;
        let (loss, _) = model.loss(&scope, &ctx, &logits, CAPACITY, true)?;

        let all: Vec<(Parameter, Tensor)> =
            graph.parameters().into_iter().filter(|(parameter, _)| parameter.trainable).collect();
        let wrt: Vec<&Tensor> = all.iter().map(|(_, tensor)| tensor).collect();
        let scale = graph.fill([1], loss_scale)?;
        let grads = gradients(&[(&loss, &scale)], &wrt)?;
        let (mut outputs, mut parameters) = (vec![loss], Vec::new());
        for ((parameter, tensor), gradient) in all.into_iter().zip(grads) {
            let Some(gradient) = gradient else { continue };
            gradient.store(part("gradient", &parameter))?;
            outputs.push(gradient);
            parameters.push((parameter, tensor));
        }

        let update = Graph::new();
        let stored =
            |name: String, tensor: &Tensor| update.stored(name, Spec::f32([tensor.shape().elements()]));
        let of = |kind: &str| -> Vec<Tensor> {
            parameters.iter().map(|(parameter, tensor)| stored(part(kind, parameter), tensor)).collect()
        };
        let [grads, first, second] = ["gradient", "first", "second"].map(of);
        let norms =
            grads.iter().map(|gradient| gradient.apply(SquaredNorm, &[])).collect::<Result<Vec<_>>>()?;
        let gradient_scale = update.input("gradient_scale", Spec::f32([1]));
        let stats = Tensor::concat(&norms.iter().collect::<Vec<_>>(), 0)?
            .apply(ClipGradNorm { clip: 5.0 }, &[&gradient_scale])?;
        let hyper = update.input("hyper", Spec::f32([4]));
        for (index, (parameter, tensor)) in parameters.iter().enumerate() {
            let value = stored(parameter.name.clone(), tensor);
            value.apply(RULE, &[&grads[index], &first[index], &second[index], &stats, &hyper])?;
        }

        let encoder = EncoderInputs::new(&[FRAMES as u32, 31], FRAMES);
        let of = |values: &[u32]| Arg::u32(&[values.len()], |i| values[i]);
        let inputs = vec![
            ("features", Arg::normal(&[UTTERANCES, FRAMES, BANDS], 8)),
            ("lengths", of(&encoder.lengths)),
            ("full_lengths", of(&encoder.full_lengths)),
            ("valid", Arg::f32(&[UTTERANCES, time], |i| f64::from(encoder.valid[i]))),
            ("targets", of(&[3, 1, 4, 0, 5, 5, 0, 0])),
            ("target_lengths", of(&[3, 2])),
            ("loss_weights", Arg::f32(&[UTTERANCES], |i| [1.0 / 6.0, 0.25][i])),
            ("gradient_scale", Arg::f32(&[1], |_| 1.0 / f64::from(loss_scale))),
        ];
        Ok(Self { graph, update, parameters, outputs, inputs })
    }

    /// The inputs of step `step` from 1.
    fn inputs(&self, step: usize) -> Vec<(&'static str, Arg)> {
        let correction = |beta: f64| 1.0 - beta.powi(step as i32);
        let hyper = [1e-3, 0.01, correction(RULE.beta1), correction(RULE.beta2)];
        let mut inputs = self.inputs.clone();
        inputs.push(("rng", Arg::u32(&[3], |i| [5, step as u32, 0][i])));
        inputs.push(("hyper", Arg::f32(&[4], |i| hyper[i])));
        inputs
    }
}

fn part(kind: &str, parameter: &Parameter) -> String {
    format!("{kind}/{}", parameter.name)
}

/// Takes two steps on both executors in the precision `compute`, and compares every step's loss, gradients and parameters.
/// The definition's products are f64 in either.
///
/// # Errors
/// When the device fails.
pub async fn steps(gpu: &Arc<Gpu>, compute: Compute) -> Result<Vec<StepReport>> {
    // Errors add up over the layers; those of f16 are a hundred times as large.
    let (bound, loss_scale, name) = match compute {
        Compute::F16 => (1e-2, LOSS_SCALE, "f16"),
        Compute::F32 => (1e-4, 1.0, "f32"),
    };
    let step = Step::new(loss_scale)?;
    let names: Vec<String> = (0..step.outputs.len()).map(|i| i.to_string()).collect();
    let named: Vec<(&str, &Tensor)> = names.iter().map(String::as_str).zip(&step.outputs).collect();
    let options = PlanOptions { compute, ..PlanOptions::default() };
    let mut executor = Executor::new(gpu.clone());
    let mut bindings = reference::Bindings::new();
    for (parameter, tensor) in &step.parameters {
        let (name, dims) = (&parameter.name, IxDyn(tensor.dims()));
        let mut drawn = parameter.init.draw(name, &parameter.shape, 1);
        // In f16, rounding changes the sign of values near 0, where the derivative of the front-end's LeakyReLU jumps: there
        // they are kept above 0.
        if compute == Compute::F16 && name.starts_with("frontend.") && name.ends_with(".norm.bias") {
            drawn.iter_mut().for_each(|bias| *bias += FRONT_END_BIAS);
        }
        let parts = ["gradient", "first", "second"].map(|kind| part(kind, parameter));
        for name in std::iter::once(name).chain(&parts) {
            executor.store.arena(gpu, name, &[(name.clone(), tensor.spec().clone())])?;
            bindings.insert(name.clone(), Array::zeros(dims.clone()));
        }
        executor.store.write(gpu, name, &drawn)?;
        let mut values = drawn.into_iter().map(f64::from);
        let drawn = Array::from_shape_simple_fn(dims, || values.next().unwrap_or_default());
        bindings.insert(name.clone(), drawn);
    }
    let plan = Plan::compile(&step.graph, &named, options, gpu.capabilities())?;
    let mut backward = executor.load(plan).await?;
    let plan = Plan::compile(&step.update, &[], PlanOptions::default(), gpu.capabilities())?;
    let mut update = executor.load(plan).await?;

    let mut reports = Vec::new();
    for number in 1..=2 {
        let inputs = step.inputs(number);
        for (name, arg) in &inputs {
            bindings.insert((*name).to_owned(), arg.values.clone());
        }
        let refs: Vec<&Tensor> = step.outputs.iter().collect();
        let wanted = reference::run(&step.graph, &mut bindings, &refs)?;
        reference::run(&step.update, &mut bindings, &[])?;
        write_inputs(&executor, &backward, &inputs)?;
        executor.run(&mut backward)?;
        let mut got = Vec::new();
        for name in &names {
            got.push(executor.read::<f32>(&backward, name).await?);
        }
        // The plans share memory: the inputs of one may be overwritten by the other.
        write_inputs(&executor, &update, &inputs)?;
        executor.run(&mut update)?;
        let mut report = |value: &str, worst_error| {
            let (compute, value) = (name.to_owned(), value.to_owned());
            reports.push(StepReport { compute, step: number, value, worst_error, bound });
        };
        report("loss", difference(&got[..1], &wanted[..1]));
        report("gradients", difference(&got[1..], &wanted[1..]));
        let (mut new, mut defined) = (Vec::new(), Vec::new());
        for (parameter, _) in &step.parameters {
            new.push(executor.store.read::<f32>(gpu, &parameter.name).await?);
            defined.push(bindings[&parameter.name].clone());
        }
        report("parameters", difference(&new, &defined));
    }
    Ok(reports)
}

fn write_inputs(executor: &Executor, loaded: &Loaded, inputs: &[(&'static str, Arg)]) -> Result<()> {
    let mut taken = inputs.iter().filter(|(name, _)| executor.takes(loaded, name));
    taken.try_for_each(|(name, arg)| executor.write_input(loaded, name, &arg.bits()))
}

/// The largest error of tensors. One that is 0 but for rounding is judged by the others' size.
fn difference(got: &[Vec<f32>], wanted: &[Array]) -> f64 {
    let magnitude = |values: &Array| values.iter().fold(0.0_f64, |m, x| m.max(x.abs()));
    let top = wanted.iter().map(magnitude).fold(0.0, f64::max);
    let mut worst = 0.0_f64;
    for (got, wanted) in got.iter().zip(wanted) {
        let own = magnitude(wanted).max(1e-2 * top).max(f64::MIN_POSITIVE);
        for (&got, &wanted) in got.iter().zip(wanted) {
            let error = (f64::from(got) - wanted).abs() / own;
            worst = worst.max(if error.is_nan() { f64::INFINITY } else { error });
        }
    }
    worst
}
