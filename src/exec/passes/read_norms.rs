//! Operations of derivatives that read the operand of a layer norm in place of its result.

use super::{Draft, Pass};
use crate::graph::ValueId;
use crate::ops::Alias;

/// Lets operations make of a norm's operand, as they read it, what they would read of its result: the operand is in memory for
/// the norm's own derivative, and the result need neither be kept nor recomputed.
#[derive(Debug)]
pub(super) struct ReadNorms;

impl Pass for ReadNorms {
    fn run(&self, draft: &mut Draft) {
        let Draft { values, nodes, .. } = draft;
        let mut makers = vec![None; values.len()];
        for (index, node) in nodes.iter().enumerate() {
            node.outputs.iter().for_each(|&id| makers[id] = Some(index));
        }
        for index in 0..nodes.len() {
            let operands = if nodes[index].derivative { nodes[index].inputs.len() } else { 0 };
            for operand in 0..operands {
                // The value that the operand is a view of.
                let mut read: ValueId = nodes[index].inputs[operand];
                let view = |id: ValueId| {
                    let node = &nodes[makers[id]?];
                    match node.op.alias(0) {
                        Some(Alias::View(input)) => Some(node.inputs[input]),
                        _ => None,
                    }
                };
                while let Some(whole) = view(read) {
                    read = whole;
                }
                let Some(maker) = makers[read].map(|maker: usize| &nodes[maker]) else { continue };
                let op =
                    maker.op.prologue().and_then(|prologue| nodes[index].op.with_prologue(prologue, operand));
                let Some(op) = op.filter(|_| maker.outputs[0] == read) else { continue };
                let (first, more) = (maker.inputs[0], [&maker.inputs[1..], &maker.outputs[1..]].concat());
                let node = &mut nodes[index];
                node.op = op;
                node.inputs[operand] = first;
                node.inputs.extend(more);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::autograd::gradients;
    use crate::exec::{Plan, PlanOptions, Recompute};
    use crate::gpu::Capabilities;
    use crate::graph::Graph;
    use crate::shape::Spec;

    #[test]
    fn the_gradient_of_a_weight_reads_what_was_normalized() {
        let graph = Graph::new();
        let x = graph.input("x", Spec::f32([8, 2048, 64]));
        let [scale, shift] = ["scale", "shift"].map(|name| graph.input(name, Spec::f32([64])));
        let (weight, bias) = (graph.input("w", Spec::f32([256, 64])), graph.input("b", Spec::f32([256])));
        let y =
            x.copy().unwrap().layer_norm(&scale, &shift, 1e-5).unwrap().linear(&weight, Some(&bias)).unwrap();
        let cotangent = graph.input("cotangent", y.spec().clone());
        let grads = gradients(&[(&y, &cotangent)], &[&weight, &bias, &scale]).unwrap();
        let grads: Vec<_> = grads.into_iter().flatten().collect();
        let outputs = [("y", &y), ("dw", &grads[0]), ("db", &grads[1]), ("dscale", &grads[2])];
        for recompute in [Recompute::None, Recompute::Cheap] {
            let options = PlanOptions { recompute, ..PlanOptions::default() };
            let plan = Plan::compile(&graph, &outputs, options, &Capabilities::assumed()).unwrap();
            let named =
                |stem: &str| plan.dispatches.iter().filter(|one| one.kernel.name.starts_with(stem)).count();
            assert_eq!(named("norm/layer_norm_vec4"), 1, "{recompute:?}: the norm is not made again");
            let gradient = plan
                .dispatches
                .iter()
                .find(|one| one.kernel.name == "matmul/weight_gradient_tiled_large_vec4")
                .unwrap();
            assert!(gradient.overrides.contains(&("NORMALIZED", 1.0)), "{:?}", gradient.overrides);
            assert_eq!(named("reduce/sum"), 0, "sums are made beside the matmul");
        }
    }
}
