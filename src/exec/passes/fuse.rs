//! Operations that a kernel computes together with the matmul before them.

use super::{Draft, Pass};
use crate::ops::Epilogue;

/// Joins elementwise operations with the matmul that makes their operand, as its epilogue, where nobody else reads the
/// value between them: values that derivatives need stay.
#[derive(Debug)]
pub(super) struct FuseEpilogues;

impl Pass for FuseEpilogues {
    fn run(&self, draft: &mut Draft) {
        let Draft { values, nodes, outputs } = draft;
        let mut readers = vec![0_usize; values.len()];
        let mut makers = vec![None; values.len()];
        for (index, node) in nodes.iter().enumerate() {
            node.inputs.iter().for_each(|&id| readers[id] += 1);
            node.outputs.iter().for_each(|&id| makers[id] = Some(index));
        }
        outputs.iter().for_each(|(_, tensor)| readers[tensor.id()] += 1);
        for index in 0..nodes.len() {
            let node = &nodes[index];
            let Some(epilogue) = node.op.epilogue() else { continue };
            // Of two summands the one that is made last: the other one is there already.
            let summands = if matches!(epilogue, Epilogue::Add) { 2 } else { 1 };
            let Some(last) = (0..summands).max_by_key(|&operand| makers[node.inputs[operand]]) else {
                continue;
            };
            let between = node.inputs[last];
            let Some(maker) = makers[between] else { continue };
            let alone = readers[between] == 1 && values[between].store.is_none();
            let whole = &values[node.outputs[0]].spec;
            let like = node.inputs[..summands].iter().all(|&summand| values[summand].spec == *whole)
                && (node.section, node.derivative) == (nodes[maker].section, nodes[maker].derivative);
            if !alone || !like {
                continue;
            }
            let operands = nodes[maker].inputs.clone();
            if let Some(op) = nodes[maker].op.with_epilogue(epilogue, operands.len()) {
                // It stands where the later one stood; the earlier one has no reader any more.
                let node = &mut nodes[index];
                node.op = op;
                node.inputs.remove(last);
                node.inputs.splice(..0, operands);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::exec::{Plan, PlanOptions};
    use crate::gpu::Capabilities;
    use crate::graph::{Graph, Tensor};
    use crate::ops::map::ActivationKind;
    use crate::ops::matmul::MatMul;
    use crate::shape::Spec;

    /// The names of the kernels of a plan.
    fn kernels(graph: &Graph, outputs: &[(&str, &Tensor)]) -> Vec<&'static str> {
        let plan = Plan::compile(graph, outputs, PlanOptions::default(), &Capabilities::assumed()).unwrap();
        plan.dispatches.iter().map(|one| one.kernel.name.split(',').next().unwrap()).collect()
    }

    const MATMUL: &str = "matmul/matmul_tiled";
    const ACTIVATION: &str = "map/activation";
    const SUM: &str = "map/binary";

    #[test]
    fn a_matmul_takes_the_activation_behind_it() {
        // The kernels of activate(activate(a·b)) and of what `read` picks of the dispatches.
        let of = |read: &[usize]| {
            let graph = Graph::new();
            let [a, b] = ["a", "b"].map(|name| graph.input(name, Spec::f32([8, 8])));
            let matmul = a.matmul(&b).unwrap();
            let once = matmul.activation(ActivationKind::Gelu).unwrap();
            let twice = once.activation(ActivationKind::Silu).unwrap();
            let all = [matmul, once, twice];
            let outputs: Vec<(&str, &Tensor)> = read.iter().map(|&i| (["0", "1", "2"][i], &all[i])).collect();
            kernels(&graph, &outputs)
        };
        assert_eq!(of(&[0]), [MATMUL]);
        assert_eq!(of(&[1]), [MATMUL]);
        assert_eq!(of(&[2]), [MATMUL, ACTIVATION], "one activation a matmul");
        assert_eq!(of(&[0, 1]), [MATMUL, ACTIVATION], "what lies between is read");
        assert_eq!(of(&[1, 2]), [MATMUL, ACTIVATION]);
        assert_eq!(of(&[0, 1, 2]), [MATMUL, ACTIVATION, ACTIVATION]);
    }

    #[test]
    fn a_matmul_takes_dropout_scale_and_sum_behind_it() {
        let graph = Graph::new();
        let [a, b] = ["a", "b"].map(|name| graph.input(name, Spec::f32([8, 8])));
        let rng = graph.input("rng", Spec::u32([3]));
        let before = a.scale(2.0).unwrap();
        let matmul = a.matmul(&b).unwrap().dropout(0.5, 7, &rng).unwrap().scale(0.5).unwrap();
        let sum = before.add(&matmul).unwrap();
        assert_eq!(kernels(&graph, &[("sum", &sum)]), ["map/affine", MATMUL]);
        let plan = Plan::compile(&graph, &[("sum", &sum)], PlanOptions::default(), &Capabilities::assumed())
            .unwrap();
        let last = plan.dispatches.last().unwrap();
        let is_read = |index: usize| last.bindings[index] == last.bindings[1];
        assert_eq!([2, 3, 4].map(is_read), [true, false, true], "rng is read, the sum is made in place");

        // Sums of what is broadcast, of what is read again and of a second summand are their own.
        let row = graph.input("row", Spec::f32([8]));
        let again = sum.add(&row).unwrap().add(&matmul).unwrap();
        let names = kernels(&graph, &[("again", &again)]);
        assert_eq!(names, ["map/affine", MATMUL, SUM, "map/broadcast", SUM]);
        let twice = sum.add(&a).unwrap();
        assert_eq!(kernels(&graph, &[("twice", &twice)]), ["map/affine", MATMUL, SUM]);
        let row_first = row.add(&a.matmul(&b).unwrap()).unwrap();
        assert_eq!(kernels(&graph, &[("row_first", &row_first)]), [MATMUL, "map/broadcast"]);
        // As is what is scaled before it is activated, and what follows a sum over rows, which is made of parts.
        let scaled = a.matmul(&b).unwrap().scale(2.0).unwrap().activation(ActivationKind::Gelu).unwrap();
        assert_eq!(kernels(&graph, &[("scaled", &scaled)]), [MATMUL, ACTIVATION]);
        let gradient = MatMul { transpose_a: true, ..MatMul::PLAIN };
        let added = a.apply(gradient, &[&b]).unwrap().add(&b).unwrap();
        assert_eq!(kernels(&graph, &[("added", &added)]), [MATMUL, SUM]);
    }
}
