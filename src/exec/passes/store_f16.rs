//! Values stored in f16.

use std::collections::HashSet;

use super::{Draft, Pass};
use crate::exec::recorder::{Memory, Operand, Recorder};
use crate::gpu::Capabilities;
use crate::graph::{Node, ValueId, ValueSource, roots};
use crate::ops::Alias;
use crate::shape::DType;

/// Stores values in f16 if the device's kernels write and read them so: activations, their gradients, and casts. Inputs, results
/// and the store are f32, as are values that a kernel writes or reads in f32 only: statistics, scores, losses, gradients of
/// weights.
#[derive(Debug)]
pub(super) struct StoreF16<'a>(pub &'a Capabilities);

/// Values of fewer bytes stay as they are.
const SMALLEST: u64 = 1 << 12;

impl Pass for StoreF16<'_> {
    fn run(&self, draft: &mut Draft) {
        let roots = roots(&draft.values, &draft.nodes);
        let mut chosen = candidates(draft, &roots);
        for node in &draft.nodes {
            let operands = |ids: &[ValueId]| -> Vec<Operand> {
                let whole =
                    |&id: &ValueId| Operand::whole(Memory::Value(roots[id]), draft.values[id].spec.clone());
                ids.iter().map(whole).collect()
            };
            let (inputs, outputs) = (operands(&node.inputs), operands(&node.outputs));
            let in_f32 = Recorder::values_in_f32(self.0, |rec| node.op.record(rec, &inputs, &outputs));
            match in_f32 {
                Ok(in_f32) => chosen.retain(|id| !in_f32.contains(id)),
                // Compilation reports it.
                Err(_) => chosen.clear(),
            }
        }
        for (value, root) in draft.values.iter_mut().zip(&roots) {
            if chosen.contains(root) {
                value.spec.dtype = DType::F16;
            }
        }
        drop_casts(draft);
    }
}

/// The roots that may be in f16, as far as kernels can.
fn candidates(draft: &Draft, roots: &[ValueId]) -> HashSet<ValueId> {
    let Draft { values, nodes, .. } = draft;
    let worth = |&id: &ValueId| {
        let spec = &values[id].spec;
        let is_made = roots[id] == id && values[id].source == ValueSource::Node;
        is_made
            && spec.dtype == DType::F32
            && spec.shape.elements().is_multiple_of(4)
            && spec.bytes() >= SMALLEST
    };
    let mut chosen: HashSet<ValueId> = (0..values.len()).filter(worth).collect();
    let updated = nodes.iter().flat_map(|node| {
        let is_update = |output: usize| matches!(node.op.alias(output), Some(Alias::Update(_)));
        node.outputs.iter().enumerate().filter(move |(output, _)| is_update(*output)).map(|(_, &id)| id)
    });
    let named = (0..values.len()).filter(|&id| values[id].store.is_some());
    for id in named.chain(updated).chain(draft.results()) {
        chosen.remove(&roots[id]);
    }
    chosen
}

/// Replaces casts that stayed f32 by their operands.
fn drop_casts(draft: &mut Draft) {
    let casts = draft.nodes.iter().filter(|node| node.op.name() == "cast");
    let pairs = |node: &Node| node.outputs.clone().into_iter().zip(node.inputs.clone());
    let in_f32 = |(output, _): &(ValueId, ValueId)| draft.values[*output].spec.dtype == DType::F32;
    let idle: Vec<(ValueId, ValueId)> = casts.flat_map(pairs).filter(in_f32).collect();
    for id in draft.nodes.iter_mut().flat_map(|node| &mut node.inputs) {
        *id = idle.iter().find(|(output, _)| output == id).map_or(*id, |(_, input)| *input);
    }
}
