//! The reverse pass: vector-Jacobian products as nodes of the same graph.

use std::collections::HashMap;

use crate::error::{Error, Result};
use crate::graph::{Graph, Tensor, ValueId, ValueSource};
use crate::ops::Vjp;
use crate::shape::DType;

/// Gradients of `Σ cotangent ∘ output` with respect to each tensor of `wrt`; `None` where nothing depends on it.
///
/// The gradients are nodes of the same graph, so that they are planned, recorded and, if need be,
/// differentiated like everything else.
///
/// # Errors
/// When a node's derivative cannot be built.
pub fn gradients(outputs: &[(&Tensor, &Tensor)], wrt: &[&Tensor]) -> Result<Vec<Option<Tensor>>> {
    let Some((first, _)) = outputs.first() else {
        return Ok(vec![None; wrt.len()]);
    };
    let graph = first.graph().clone();
    graph.derivative(|| reverse(&graph, outputs, wrt))
}

fn reverse(graph: &Graph, outputs: &[(&Tensor, &Tensor)], wrt: &[&Tensor]) -> Result<Vec<Option<Tensor>>> {
    let (values, nodes) = graph.snapshot();

    // Only values between `wrt` and the outputs carry a gradient.
    let mut active = vec![false; values.len()];
    wrt.iter().for_each(|tensor| active[tensor.id()] = true);
    for node in &nodes {
        if node.inputs.iter().any(|&id| active[id]) {
            node.outputs.iter().for_each(|&id| active[id] = values[id].spec.dtype == DType::F32);
        }
    }

    let mut grads: HashMap<ValueId, Tensor> = HashMap::new();
    for (output, cotangent) in outputs {
        if output.shape() != cotangent.shape() {
            let message =
                format!("the cotangent is {} for an output of {}", cotangent.shape(), output.shape());
            return Err(Error::shape("gradients", message));
        }
        add(&mut grads, output.id(), (*cotangent).clone())?;
    }
    for node in nodes.iter().rev() {
        let reached = node.outputs.iter().any(|id| grads.contains_key(id));
        if !reached || !node.inputs.iter().any(|&id| active[id]) {
            continue;
        }
        graph.set_path(&node.path);
        let context = Vjp {
            inputs: node.inputs.iter().map(|&id| graph.tensor(id)).collect(),
            outputs: node.outputs.iter().map(|&id| graph.tensor(id)).collect(),
            grads: node.outputs.iter().map(|id| grads.get(id).cloned()).collect(),
            needed: node.inputs.iter().map(|&id| active[id]).collect(),
        };
        let gradients = node.op.vjp(&context)?;
        for ((&id, gradient), needed) in node.inputs.iter().zip(gradients).zip(&context.needed) {
            if let (Some(gradient), true) = (gradient, needed) {
                if gradient.shape() != &values[id].spec.shape {
                    let message =
                        format!("gradient {} for an input of {}", gradient.shape(), values[id].spec.shape);
                    return Err(Error::shape(node.op.name(), message));
                }
                add(&mut grads, id, gradient)?;
            }
        }
        // A result's gradient is complete here and, unless asked for, never read again.
        for id in &node.outputs {
            if !wrt.iter().any(|tensor| tensor.id() == *id) && matches!(values[*id].source, ValueSource::Node)
            {
                grads.remove(id);
            }
        }
    }
    Ok(wrt.iter().map(|tensor| grads.get(&tensor.id()).cloned()).collect())
}

fn add(grads: &mut HashMap<ValueId, Tensor>, id: ValueId, gradient: Tensor) -> Result<()> {
    let sum = match grads.remove(&id) {
        Some(sum) => sum.add(&gradient)?,
        None => gradient,
    };
    grads.insert(id, sum);
    Ok(())
}
