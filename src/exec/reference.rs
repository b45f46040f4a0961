//! The oracle: runs a graph with the operations' f64 definitions. Naive on purpose.

use std::collections::HashMap;

use ndarray::{Array1, IxDyn};

use crate::error::{Error, Result};
use crate::graph::{Graph, Tensor, ValueId, ValueSource};
use crate::ops::Array;

/// Values by the name of their input or store entry.
pub type Bindings = HashMap<String, Array>;

/// Evaluates `outputs`; values that are stored replace their entry in `bindings`.
///
/// # Errors
/// When an input or entry is missing or has another shape.
pub fn run(graph: &Graph, bindings: &mut Bindings, outputs: &[&Tensor]) -> Result<Vec<Array>> {
    let (values, nodes) = graph.snapshot();
    let mut wanted = vec![false; values.len()];
    outputs.iter().for_each(|tensor| wanted[tensor.id()] = true);
    values.iter().enumerate().for_each(|(id, value)| wanted[id] |= value.store.is_some());
    let in_place = |node: &crate::graph::Node, output: usize| {
        let input = node.op.alias(output)?.operand();
        match &values[node.inputs[input]].source {
            ValueSource::Stored(name) => Some(name.clone()),
            _ => None,
        }
    };
    for node in nodes.iter().rev() {
        let effect = (0..node.outputs.len()).any(|output| in_place(node, output).is_some());
        if effect || node.outputs.iter().any(|&id| wanted[id]) {
            node.inputs.iter().chain(&node.outputs).for_each(|&id| wanted[id] = true);
        }
    }
    let mut computed: HashMap<ValueId, Array> = HashMap::new();
    for (id, value) in values.iter().enumerate().filter(|(id, _)| wanted[*id]) {
        let shape = IxDyn(value.spec.shape.dims());
        let (name, array) = match &value.source {
            ValueSource::Input(name) | ValueSource::Stored(name) => {
                let array = bindings.get(name);
                (name, array.ok_or_else(|| Error::invalid(format!("{name} has no value")))?.clone())
            }
            ValueSource::Constant(name, elements) => {
                (name, Array1::from_iter(elements.iter().map(|&x| f64::from(x))).into_dyn())
            }
            ValueSource::Node => continue,
        };
        let array = array.into_shape_with_order(shape);
        let array =
            array.map_err(|_| Error::invalid(format!("{name} does not have shape {}", value.spec.shape)))?;
        computed.insert(id, array);
    }
    for node in nodes.iter().filter(|node| node.outputs.iter().any(|&id| wanted[id])) {
        let inputs: Option<Vec<&Array>> = node.inputs.iter().map(|id| computed.get(id)).collect();
        let inputs = inputs.ok_or_else(|| Error::invalid(format!("{} misses an operand", node.op.name())))?;
        for (output, (&id, array)) in node.outputs.iter().zip(node.op.reference(&inputs)).enumerate() {
            debug_assert_eq!(array.shape(), values[id].spec.shape.dims(), "{}", node.op.name());
            if let Some(name) = values[id].store.clone().or_else(|| in_place(node, output)) {
                bindings.insert(name, array.clone());
            }
            computed.insert(id, array);
        }
    }
    let missing = || Error::invalid("an output is not computed");
    outputs.iter().map(|tensor| computed.get(&tensor.id()).cloned().ok_or_else(missing)).collect()
}
