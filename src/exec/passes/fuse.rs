//! Operations that a kernel computes together with the one before them.

use super::{Draft, Pass};
use crate::ops::Epilogue;

/// Joins elementwise operations with the operation that makes their operand, as its epilogue, where nothing else reads the
/// value between them: values that derivatives need stay.
#[derive(Debug)]
pub(super) struct FuseEpilogues;

impl Pass for FuseEpilogues {
    fn run(&self, draft: &mut Draft) {
        let Draft { values, nodes, outputs } = draft;
        let (mut readers, mut first_reader) = (vec![0_usize; values.len()], vec![usize::MAX; values.len()]);
        let mut makers = vec![None; values.len()];
        let mut is_joined = vec![false; nodes.len()];
        for (index, node) in nodes.iter().enumerate() {
            for &id in &node.inputs {
                readers[id] += 1;
                first_reader[id] = first_reader[id].min(index);
            }
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
            // What else it makes is made later then.
            let others = nodes[maker].outputs.get(1..).unwrap_or_default();
            let in_time = others.iter().all(|&id| first_reader[id] > index);
            if !alone || !like || !in_time || nodes[maker].outputs[0] != between {
                continue;
            }
            let operands = nodes[maker].inputs.clone();
            if let Some(op) = nodes[maker].op.with_epilogue(epilogue, operands.len()) {
                // It stands where the later one stood.
                is_joined[maker] = true;
                let others = nodes[maker].outputs.split_off(1);
                others.iter().for_each(|&id| makers[id] = Some(index));
                let node = &mut nodes[index];
                node.op = op;
                node.inputs.remove(last);
                node.inputs.splice(..0, operands);
                node.outputs.extend(others);
            }
        }
        let mut is_joined = is_joined.into_iter();
        nodes.retain(|_| is_joined.next() == Some(false));
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

    #[test]
    fn what_is_done_element_by_element_is_done_at_once() {
        let graph = Graph::new();
        let [x, y] = ["x", "y"].map(|name| graph.input(name, Spec::f32([2, 8, 8])));
        let (rng, lengths) = (graph.input("rng", Spec::u32([3])), graph.input("lengths", Spec::u32([2])));
        let dropped = |x: &Tensor| x.dropout(0.5, 7, &rng).unwrap();
        let active = x.activation(ActivationKind::Gelu).unwrap();
        let chain = "map/chain_gpu";
        assert_eq!(kernels(&graph, &[("y", &dropped(&active))]), [chain]);
        assert_eq!(kernels(&graph, &[("y", &dropped(&x.scale(0.5).unwrap()))]), [chain]);
        let masked = x.mask_frames(&lengths).unwrap();
        assert_eq!(kernels(&graph, &[("y", &dropped(&masked))]), [chain]);
        assert_eq!(kernels(&graph, &[("y", &dropped(&masked).add(&y).unwrap())]), [chain]);
        // What comes after an activation can be anything, but another one, and nothing comes after a sum.
        let twice = dropped(&active).activation(ActivationKind::Silu).unwrap();
        assert_eq!(kernels(&graph, &[("y", &twice)]), [chain, ACTIVATION]);
        let sum = dropped(&active).add(&y).unwrap().scale(0.5).unwrap();
        assert_eq!(kernels(&graph, &[("y", &sum)]), [chain, "map/affine"]);
        assert_eq!(
            kernels(&graph, &[("y", &dropped(&active)), ("active", &active)]),
            [ACTIVATION, "random/dropout_gpu"]
        );
        // A matmul does all of it.
        let weight = graph.input("weight", Spec::f32([8, 8]));
        let matmul = dropped(&x.matmul(&weight).unwrap().activation(ActivationKind::Gelu).unwrap());
        let all = matmul.mask_frames(&lengths).unwrap().add(&y).unwrap();
        assert_eq!(kernels(&graph, &[("y", &all)]), [MATMUL]);
    }

    #[cfg(feature = "autograd")]
    #[test]
    fn gradients_take_what_follows() {
        let gradient = |graph: &Graph, y: &Tensor, x: &Tensor| {
            let cotangent = graph.input("cotangent", y.spec().clone());
            let dx = crate::autograd::gradients(&[(y, &cotangent)], &[x]).unwrap().remove(0).unwrap();
            kernels(graph, &[("dx", &dx)])
        };
        let graph = Graph::new();
        let x = graph.input("x", Spec::f32([8, 8]));
        let [weight, bias] = ["weight", "bias"].map(|name| graph.input(name, Spec::f32([8])));
        let norm = x.layer_norm(&weight, &bias, 1e-5).unwrap();
        // The sum of the forward pass is not needed, that of the gradients is the norm's.
        let backward =
            ["norm/layer_norm_vec4", "norm/layer_norm_backward_vec4", "norm/layer_norm_backward_sum_vec4"];
        assert_eq!(gradient(&graph, &x.add(&norm).unwrap(), &x), backward);
        assert_eq!(kernels(&graph, &[("y", &x.add(&norm).unwrap())]), ["norm/layer_norm_vec4"]);

        // dh = gelu'(h) ∘ dropout(dy·W) is one matmul.
        let graph = Graph::new();
        let [h, w] = ["h", "w"].map(|name| graph.input(name, Spec::f32([8, 8])));
        let rng = graph.input("rng", Spec::u32([3]));
        let y =
            h.activation(ActivationKind::Gelu).unwrap().dropout(0.5, 7, &rng).unwrap().matmul(&w).unwrap();
        assert_eq!(gradient(&graph, &y, &h), [MATMUL]);
    }
}
