//! What derivatives read of the forward pass and is saved for them as halves, in half the memory.
//!
//! The forward pass goes on with the value itself, so that its results have the same bits; derivatives get what halves
//! tell of it, to a relative error of 2⁻¹¹.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::plan::keep_needed;
use crate::graph::{Node, Tensor, Value, ValueId, ValueSource, roots};
use crate::ops::layout::{FromHalf, Reshape, ToHalf};
use crate::ops::{Alias, NodeOp};
use crate::shape::{DType, Spec};

/// Values of fewer bytes stay as they are: two dispatches would cost more than they save.
const SMALLEST: u64 = 1 << 12;

struct Walk {
    values: Vec<Value>,
    roots: Vec<ValueId>,
    /// The halves of each value that is saved.
    halves: HashMap<ValueId, ValueId>,
    /// What stands for it, or for a view of it, behind the forward pass.
    widened: HashMap<ValueId, ValueId>,
    done: Vec<Node>,
}

/// `nodes` with the conversions, and the values with their results.
pub(super) fn save_halves(
    values: Vec<Value>,
    nodes: Vec<Node>,
    outputs: &[(&str, &Tensor)],
) -> (Vec<Value>, Vec<Node>) {
    let Some(backward) = nodes.iter().position(|node| node.derivative) else {
        return (values, nodes);
    };
    let roots = roots(&values, &nodes);
    let saved = saved(&values, &nodes, &roots, backward, outputs);
    let (halves, widened, done) = Default::default();
    let mut walk = Walk { values, roots, halves, widened, done };
    for (index, mut node) in nodes.into_iter().enumerate() {
        if index >= backward {
            let user = node.clone();
            node.inputs.iter_mut().for_each(|id| *id = walk.served(*id, &user));
        }
        walk.done.push(node.clone());
        for &id in node.outputs.iter().filter(|id| index < backward && saved.contains(id)) {
            walk.save(id, &node);
        }
    }
    let Walk { values, mut done, .. } = walk;
    // Views of what is saved have views of what stands for it beside them.
    keep_needed(&values, &mut done, outputs);
    (values, done)
}

/// The values of sections, such as layers, that derivatives read, and nothing else behind the forward pass. What lies
/// behind the last section is not held for long.
fn saved(
    values: &[Value],
    nodes: &[Node],
    roots: &[ValueId],
    backward: usize,
    outputs: &[(&str, &Tensor)],
) -> HashSet<ValueId> {
    let (forward, derivative) = nodes.split_at(backward);
    let read: HashSet<ValueId> =
        derivative.iter().flat_map(|node| &node.inputs).map(|&id| roots[id]).collect();
    let named = (0..values.len()).filter(|&id| values[id].store.is_some());
    let results = outputs.iter().map(|(_, tensor)| tensor.id());
    let updated = nodes.iter().flat_map(|node| {
        let is_update = |output: usize| matches!(node.op.alias(output), Some(Alias::Update(_)));
        node.outputs.iter().enumerate().filter(move |(output, _)| is_update(*output)).map(|(_, &id)| id)
    });
    let whole: HashSet<ValueId> = named.chain(results).chain(updated).map(|id| roots[id]).collect();
    let made = forward.iter().filter(|node| node.section.is_some()).flat_map(|node| &node.outputs);
    let worth = |id: ValueId| {
        let spec = &values[id].spec;
        spec.dtype == DType::F32 && spec.shape.elements().is_multiple_of(4) && spec.bytes() >= SMALLEST
    };
    let eligible = |&id: &ValueId| roots[id] == id && worth(id) && read.contains(&id) && !whole.contains(&id);
    made.copied().filter(eligible).collect()
}

impl Walk {
    /// Adds a node of one operand and one result beside another, and gives the result.
    fn add(&mut self, op: Arc<NodeOp>, input: ValueId, spec: Spec, beside: &Node) -> ValueId {
        let output = self.values.len();
        self.values.push(Value { spec, source: ValueSource::Node, store: None });
        self.done.push(Node { op, inputs: vec![input], outputs: vec![output], ..beside.clone() });
        output
    }

    fn save(&mut self, id: ValueId, maker: &Node) {
        let words = Spec::u32([self.values[id].spec.shape.elements() / 2]);
        let half = self.add(Arc::new(ToHalf), id, words, maker);
        self.halves.insert(id, half);
    }

    /// What stands for `id` at node `user` behind the forward pass.
    fn served(&mut self, id: ValueId, user: &Node) -> ValueId {
        let root = self.roots[id];
        let Some(&half) = self.halves.get(&root) else { return id };
        if let Some(&wide) = self.widened.get(&id) {
            return wide;
        }
        let spec = self.values[id].spec.clone();
        let wide = match id == root {
            true => self.add(Arc::new(FromHalf(spec.shape.clone())), half, spec, user),
            false => {
                let whole = self.served(root, user);
                self.add(Arc::new(Reshape(spec.shape.clone())), whole, spec, user)
            }
        };
        self.widened.insert(id, wide);
        wide
    }
}
