//! Operations that a plan computes together.

use std::sync::Arc;

use super::plan::keep_needed;
use crate::graph::{Node, Tensor, Value};
use crate::ops::NodeOp;
use crate::recipe::Compute;

/// Puts products of halves in the place of others where `compute` asks for it.
pub(super) fn multiply_as(compute: Compute, nodes: &mut [Node]) {
    if compute == Compute::F16 {
        for node in nodes {
            node.op = node.op.in_halves().unwrap_or_else(|| node.op.clone());
        }
    }
}

/// Joins each operation with the one that makes its only operand, where the former can and nobody else reads what lies
/// between: values that derivatives need stay.
pub(super) fn fuse(values: &[Value], nodes: &mut Vec<Node>, outputs: &[(&str, &Tensor)]) {
    let mut readers = vec![0_usize; values.len()];
    let mut makers = vec![None; values.len()];
    for (index, node) in nodes.iter().enumerate() {
        node.inputs.iter().for_each(|&id| readers[id] += 1);
        node.outputs.iter().for_each(|&id| makers[id] = Some(index));
    }
    outputs.iter().for_each(|(_, tensor)| readers[tensor.id()] += 1);
    for index in 0..nodes.len() {
        let &[between] = nodes[index].inputs.as_slice() else { continue };
        let Some(maker) =
            makers[between].filter(|_| readers[between] == 1 && values[between].store.is_none())
        else {
            continue;
        };
        let joined: Option<Arc<NodeOp>> = nodes[index].op.joined_with(&*nodes[maker].op);
        if let Some(op) = joined {
            // It stands where the later one stood; the earlier one has no reader any more.
            let inputs = nodes[maker].inputs.clone();
            nodes[index].op = op;
            nodes[index].inputs = inputs;
        }
    }
    keep_needed(values, nodes, outputs);
}

#[cfg(test)]
mod tests {
    use crate::exec::Plan;
    use crate::gpu::Capabilities;
    use crate::graph::{Graph, Tensor};
    use crate::ops::map::ActivationKind;
    use crate::shape::Spec;

    /// The names of the kernels of activate(activate(a·b)) and of what `read` picks of the steps.
    fn kernels(read: &[usize]) -> Vec<&'static str> {
        let graph = Graph::new();
        let [a, b] = ["a", "b"].map(|name| graph.input(name, Spec::f32([8, 8])));
        let product = a.matmul(&b).unwrap();
        let once = product.activation(ActivationKind::Gelu).unwrap();
        let twice = once.activation(ActivationKind::Silu).unwrap();
        let all = [product, once, twice];
        let outputs: Vec<(&str, &Tensor)> = read.iter().map(|&i| (["0", "1", "2"][i], &all[i])).collect();
        let plan = Plan::compile(&graph, &outputs, &Capabilities::assumed()).unwrap();
        plan.steps.iter().map(|step| step.kernel.name.split(',').next().unwrap()).collect()
    }

    #[test]
    fn a_product_takes_the_activation_behind_it() {
        let (product, activation) = ("matmul/matmul_tiled", "map/activation");
        assert_eq!(kernels(&[0]), [product]);
        assert_eq!(kernels(&[1]), [product]);
        assert_eq!(kernels(&[2]), [product, activation], "one activation a product");
        assert_eq!(kernels(&[0, 1]), [product, activation], "what lies between is read");
        assert_eq!(kernels(&[1, 2]), [product, activation]);
        assert_eq!(kernels(&[0, 1, 2]), [product, activation, activation]);
    }
}
