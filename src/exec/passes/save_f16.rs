//! Activations that derivatives read are saved in f16, in half the memory.
//!
//! The forward pass goes on with the f32 value, so that its results have the same bits; derivatives read the value rounded
//! to f16, to a relative error of 2⁻¹¹.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::{Draft, Pass};
use crate::graph::{Node, Value, ValueId, ValueSource, roots};
use crate::ops::NodeOp;
use crate::ops::layout::{FromF16, Reshape, ToF16};
use crate::shape::Spec;

/// Adds the conversions to f16 behind the forward pass's nodes and from f16 before the derivatives'.
#[derive(Debug)]
pub(super) struct SaveF16;

impl Pass for SaveF16 {
    fn run(&self, draft: &mut Draft) {
        let Some(backward) = draft.nodes.iter().position(|node| node.derivative) else { return };
        let roots = roots(&draft.values, &draft.nodes);
        let saved = saved(draft, &roots, backward);
        let (values, nodes) = (std::mem::take(&mut draft.values), std::mem::take(&mut draft.nodes));
        let mut conversions =
            Conversions { values, roots, saved: HashMap::new(), restored: HashMap::new(), done: Vec::new() };
        for (index, mut node) in nodes.into_iter().enumerate() {
            if index >= backward {
                let reader = node.clone();
                node.inputs.iter_mut().for_each(|id| *id = conversions.restore(*id, &reader));
            }
            conversions.done.push(node.clone());
            for &id in node.outputs.iter().filter(|id| index < backward && saved.contains(id)) {
                conversions.save(id, &node);
            }
        }
        (draft.values, draft.nodes) = (conversions.values, conversions.done);
    }
}

/// The nodes so far with their conversions.
struct Conversions {
    values: Vec<Value>,
    roots: Vec<ValueId>,
    /// The f16 copy of each value that is saved.
    saved: HashMap<ValueId, ValueId>,
    /// The f32 value made of the copy, or a view of it, that derivatives read in place of a value.
    restored: HashMap<ValueId, ValueId>,
    done: Vec<Node>,
}

/// The values of sections, such as layers, that derivatives read, and nothing else behind the forward pass. What lies
/// behind the last section is not live for long.
fn saved(draft: &Draft, roots: &[ValueId], backward: usize) -> HashSet<ValueId> {
    let (forward, derivative) = draft.nodes.split_at(backward);
    let read: HashSet<ValueId> =
        derivative.iter().flat_map(|node| &node.inputs).map(|&id| roots[id]).collect();
    let whole = draft.read_behind(roots);
    let made = forward.iter().filter(|node| node.section.is_some()).flat_map(|node| &node.outputs);
    let eligible = |&id: &ValueId| {
        roots[id] == id && draft.is_worth_f16(id) && read.contains(&id) && !whole.contains(&id)
    };
    made.copied().filter(eligible).collect()
}

impl Conversions {
    /// Adds a node of one operand and one result beside another, and gives the result.
    fn add(&mut self, op: Arc<NodeOp>, input: ValueId, spec: Spec, beside: &Node) -> ValueId {
        let output = self.values.len();
        self.values.push(Value { spec, source: ValueSource::Node, store: None });
        self.done.push(Node { op, inputs: vec![input], outputs: vec![output], ..beside.clone() });
        output
    }

    fn save(&mut self, id: ValueId, maker: &Node) {
        let words = Spec::u32([self.values[id].spec.shape.elements() / 2]);
        let half = self.add(Arc::new(ToF16), id, words, maker);
        self.saved.insert(id, half);
    }

    /// The value that node `reader` of a derivative reads in place of `id`.
    fn restore(&mut self, id: ValueId, reader: &Node) -> ValueId {
        let root = self.roots[id];
        let Some(&half) = self.saved.get(&root) else { return id };
        if let Some(&wide) = self.restored.get(&id) {
            return wide;
        }
        let spec = self.values[id].spec.clone();
        let wide = match id == root {
            true => self.add(Arc::new(FromF16(spec.shape.clone())), half, spec, reader),
            false => {
                let whole = self.restore(root, reader);
                self.add(Arc::new(Reshape(spec.shape.clone())), whole, spec, reader)
            }
        };
        self.restored.insert(id, wide);
        wide
    }
}
