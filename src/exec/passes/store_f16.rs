//! Values stored in f16.

use std::collections::{HashMap, HashSet};

use super::{Draft, Pass};
use crate::exec::recorder::{Memory, Operand, Recorder};
use crate::gpu::Capabilities;
use crate::graph::{Node, ValueId, ValueSource, roots};
use crate::shape::DType;

/// Stores values in f16 if the device's kernels write and read them so: activations, their gradients, and casts. Inputs, results
/// and the store are f32, as are values that a kernel writes or reads in f32 only: statistics, scores, losses, gradients of
/// weights.
#[derive(Debug)]
pub(super) struct StoreF16<'a>(pub &'a Capabilities);

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
                Ok(in_f32) => in_f32.iter().for_each(|id| {
                    chosen.remove(id);
                }),
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
    let behind = draft.read_behind(roots);
    let may = |&id: &ValueId| {
        let is_made = roots[id] == id && draft.values[id].source == ValueSource::Node;
        is_made && draft.is_worth_f16(id) && !behind.contains(&id)
    };
    (0..draft.values.len()).filter(may).collect()
}

/// Replaces casts that stayed f32 by their operands.
fn drop_casts(draft: &mut Draft) {
    let casts = draft.nodes.iter().filter(|node| node.op.name() == "cast");
    let pairs = |node: &Node| node.outputs.clone().into_iter().zip(node.inputs.clone());
    let in_f32 = |(output, _): &(ValueId, ValueId)| draft.values[*output].spec.dtype == DType::F32;
    let idle: HashMap<ValueId, ValueId> = casts.flat_map(pairs).filter(in_f32).collect();
    for id in draft.nodes.iter_mut().flat_map(|node| &mut node.inputs) {
        *id = idle.get(id).copied().unwrap_or(*id);
    }
}
