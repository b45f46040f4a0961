//! Activation checkpointing: values of the forward pass that derivatives read are recomputed, so that they are not kept.
//!
//! A node whose result is recomputed is copied to where a derivative first reads it. Copies draw the same random numbers
//! and run the same kernels, so that they have the same bits.

use std::collections::{HashMap, HashSet};

use super::{Draft, Pass};
use crate::graph::{Node, Value, ValueId, ValueSource, roots};

/// Recomputes values. The variant is the rule by which they are chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum RecomputePass {
    /// All of a section, from its inputs.
    Sections,
    /// Results of [`crate::ops::Op::recomputable`] operations whose operands are in memory then anyway.
    Cheap,
}

struct Rematerializer<'a> {
    rule: RecomputePass,
    values: &'a mut Vec<Value>,
    nodes: &'a [Node],
    roots: Vec<ValueId>,
    /// The node that makes a value.
    makers: HashMap<ValueId, usize>,
    /// The last node that uses each root.
    last_use: HashMap<ValueId, usize>,
    /// Values that stay whatever the rule says: results of the plan, those in the store, and those that are used
    /// outside of their section.
    kept: HashSet<ValueId>,
    copies: HashMap<ValueId, ValueId>,
    done: Vec<Node>,
}

impl Pass for RecomputePass {
    fn run(&self, draft: &mut Draft) {
        let nodes = std::mem::take(&mut draft.nodes);
        let results = draft.outputs.iter().map(|(_, tensor)| tensor.id());
        draft.nodes = recompute(*self, &mut draft.values, &nodes, results);
    }
}

/// `nodes` with the copies that `rule` asks for.
fn recompute(
    rule: RecomputePass,
    values: &mut Vec<Value>,
    nodes: &[Node],
    results: impl Iterator<Item = ValueId> + Clone,
) -> Vec<Node> {
    let roots = roots(values, nodes);
    let (mut makers, mut last_use): (HashMap<ValueId, usize>, HashMap<ValueId, usize>) = Default::default();
    for (index, node) in nodes.iter().enumerate() {
        makers.extend(node.outputs.iter().map(|&id| (id, index)));
        last_use.extend(node.inputs.iter().chain(&node.outputs).map(|&id| (roots[id], index)));
    }
    last_use.extend(results.clone().map(|id| (roots[id], usize::MAX)));
    let stored = (0..values.len()).filter(|&id| values[id].store.is_some());
    let mut kept: HashSet<ValueId> = stored.chain(results).map(|id| roots[id]).collect();
    if rule == RecomputePass::Sections {
        for node in nodes.iter().filter(|node| !node.derivative) {
            let section = |id: &&ValueId| makers.get(*id).map(|&maker| nodes[maker].section);
            let foreign = node.inputs.iter().filter(|id| section(id) != Some(node.section));
            kept.extend(foreign.map(|&id| roots[id]));
        }
    }
    let copies = HashMap::new();
    let done = Vec::with_capacity(nodes.len());
    let mut copier = Rematerializer { rule, values, nodes, roots, makers, last_use, kept, copies, done };
    for (index, node) in nodes.iter().enumerate() {
        let mut node = node.clone();
        if node.derivative {
            node.inputs.iter_mut().for_each(|id| *id = copier.served(*id, index));
        }
        copier.done.push(node);
    }
    copier.done
}

impl Rematerializer<'_> {
    /// The value that stands for `id` at node `at`.
    fn served(&mut self, id: ValueId, at: usize) -> ValueId {
        if !self.is_copied(id, at) {
            return id;
        }
        if let Some(&copy) = self.copies.get(&id) {
            return copy;
        }
        let mut node = self.nodes[self.makers[&id]].clone();
        node.inputs.iter_mut().for_each(|input| *input = self.served(*input, at));
        for output in &mut node.outputs {
            let copy = Value { store: None, ..self.values[*output].clone() };
            self.values.push(copy);
            self.copies.insert(*output, self.values.len() - 1);
            *output = self.values.len() - 1;
        }
        self.done.push(node);
        self.copies[&id]
    }

    /// Whether a copy of `id` serves node `at`.
    fn is_copied(&self, id: ValueId, at: usize) -> bool {
        if self.copies.contains_key(&id) {
            return true;
        }
        let Some(node) = self.makers.get(&id).map(|&maker| &self.nodes[maker]) else { return false };
        let root = self.roots[id];
        if node.derivative || self.values[root].source != ValueSource::Node || self.kept.contains(&root) {
            return false;
        }
        match self.rule {
            RecomputePass::Sections => node.section.is_some() && !self.is_small(id),
            RecomputePass::Cheap => {
                node.op.recomputable()
                    && !self.is_small(id)
                    && node.inputs.iter().all(|&input| self.is_there(input, at))
            }
        }
    }

    /// Whether `id` is in memory at node `at`, or can be recomputed there.
    fn is_there(&self, id: ValueId, at: usize) -> bool {
        let root = self.roots[id];
        self.values[root].source != ValueSource::Node
            || self.is_small(id)
            || self.last_use.get(&root).is_some_and(|&last| last >= at)
            || self.is_copied(id, at)
    }

    /// Whether `id` takes so much less memory than what it is made of that it may as well be kept.
    fn is_small(&self, id: ValueId) -> bool {
        let Some(&maker) = self.makers.get(&id) else { return false };
        let operands = self.nodes[maker].inputs.iter().map(|&input| self.values[input].spec.bytes());
        8 * self.values[id].spec.bytes() <= operands.max().unwrap_or(0)
    }
}
