//! A graph from the first tensor to gradients on the GPU, compared with the f64 definition of every operation.
//!
//! `cargo run --release --example autograd -- [DEVICE]`: `auto`, an index of `polymix devices`, or a part of
//! an adapter's name.

use std::sync::Arc;

use ndarray::IxDyn;
use pollster::block_on;
use polymix::autograd::gradients;
use polymix::error::{Error, Result};
use polymix::exec::{PlanOptions, Session, reference};
use polymix::gpu::{Gpu, Selection};
use polymix::graph::{Graph, Tensor};
use polymix::nn::Linear;
use polymix::ops::Array;
use polymix::ops::map::ActivationKind;
use polymix::recipe::Initialization;
use polymix::rng::Rng;
use polymix::shape::Spec;

fn main() -> Result<()> {
    // 1. The graph: one layer and a squared error. Nothing runs yet; shapes are checked as it is built.
    let (rows, inputs, outputs) = (32, 24, 10);
    let graph = Graph::new();
    let scope = graph.root();
    let x = scope.input("x", Spec::f32([rows, inputs]));
    let target = scope.input("target", Spec::f32([rows, outputs]));
    let layer = Linear::new(inputs, outputs, Initialization::Torch);
    let y = layer.forward(&scope.at("layer"), &x)?.activation(ActivationKind::Gelu)?;
    let error = y.sub(&target)?;
    let loss = error.mul(&error)?.sum(0, 2)?.reshape([1])?.scale(1.0 / (rows * outputs) as f32)?;

    // 2. Its gradients are nodes of the same graph. The parameters are those that the layer asked for.
    let parameters = graph.parameters();
    let wrt: Vec<&Tensor> = parameters.iter().map(|(_, tensor)| tensor).collect();
    let one = graph.fill([1], 1.0)?;
    let mut results = vec![("loss".to_owned(), loss.clone())];
    for ((parameter, _), gradient) in parameters.iter().zip(gradients(&[(&loss, &one)], &wrt)?) {
        let gradient = gradient.ok_or_else(|| Error::invalid("the loss does not reach the parameter"))?;
        results.push((format!("gradient of {}", parameter.name), gradient));
    }

    // 3. A session: the plan for this device (dispatches, memory and kernel parameters, as plain data), loaded there, with
    // parameters drawn from a seed. They are stored under their path names, across runs.
    let device = std::env::args().nth(1).unwrap_or_else(|| "auto".to_owned());
    let gpu = Arc::new(block_on(Gpu::new(&Selection { device, ..Default::default() }))?);
    let named: Vec<(&str, &Tensor)> = results.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    let mut session = block_on(Session::new(gpu.clone(), &graph, &named, PlanOptions::default(), 0))?;
    print!("{} {}\n{}", gpu.capabilities().backend, gpu.capabilities().adapter, session.plan().dump());

    // 4. A run: inputs are set by name, outputs read by name. Set and run again as often as you like.
    let mut bindings = reference::Bindings::new();
    for (parameter, tensor) in &parameters {
        let values = block_on(session.get(&parameter.name))?;
        bindings.insert(parameter.name.clone(), array(tensor, &values)?);
    }
    let mut rng = Rng::new(&[1]);
    for (name, tensor) in [("x", &x), ("target", &target)] {
        let values: Vec<f32> = (0..tensor.shape().elements()).map(|_| rng.normal() as f32).collect();
        session.write_input(name, &values)?;
        bindings.insert(name.to_owned(), array(tensor, &values)?);
    }
    session.run()?;

    // 5. The reference executor runs the same graph in f64, without a GPU.
    let outputs: Vec<&Tensor> = results.iter().map(|(_, tensor)| tensor).collect();
    for ((name, tensor), wanted) in results.iter().zip(reference::run(&graph, &mut bindings, &outputs)?) {
        let got: Vec<f32> = block_on(session.read(name))?;
        let off = got.iter().zip(&wanted).map(|(&got, wanted)| (f64::from(got) - wanted).abs());
        let off = off.fold(0.0, f64::max);
        let largest = wanted.iter().fold(0.0, |largest: f64, value| largest.max(value.abs()));
        println!("{name} {}: largest {largest:.4}, kernels off by {off:.1e}", tensor.shape());
        if off > 2e-5 * largest.max(1.0) {
            return Err(Error::Gpu(format!("{name} is off by {off}; run `make test` on this device")));
        }
    }
    Ok(())
}

/// The values as the reference executor takes them.
fn array(tensor: &Tensor, values: &[f32]) -> Result<Array> {
    let values = values.iter().map(|&value| f64::from(value)).collect();
    Array::from_shape_vec(IxDyn(tensor.dims()), values).map_err(|error| Error::invalid(error.to_string()))
}
