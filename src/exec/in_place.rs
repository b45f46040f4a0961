//! Which results take the memory of an operand.

use std::collections::HashMap;

use crate::graph::{Node, Value, ValueId, ValueSource};

/// Gives results the memory of operands that are no longer live, where the operation can work in place.
/// Parameters, inputs, and what the store holds keep their memory.
pub(super) fn work_in_place(
    values: &[Value],
    nodes: &[Node],
    roots: &mut [ValueId],
    names: &HashMap<ValueId, String>,
    results: impl Iterator<Item = ValueId>,
) {
    let mut last_use = vec![0; values.len()];
    for (index, node) in nodes.iter().enumerate() {
        node.inputs.iter().chain(&node.outputs).for_each(|&id| last_use[roots[id]] = index);
    }
    results.for_each(|id| last_use[roots[id]] = usize::MAX);
    // The memory that a root has taken.
    let mut taken: Vec<ValueId> = (0..values.len()).collect();
    for (index, node) in nodes.iter().enumerate() {
        let operands: Vec<ValueId> = node.inputs.iter().map(|&id| taken[roots[id]]).collect();
        for (output, &id) in node.outputs.iter().enumerate() {
            let fits = |&&input: &&usize| {
                let memory = operands[input];
                values[memory].source == ValueSource::Node
                    && !names.contains_key(&memory)
                    && last_use[memory] == index
                    && operands.iter().filter(|&&other| other == memory).count() == 1
                    && values[memory].spec.bytes() == values[id].spec.bytes()
                    && values[memory].spec.dtype.bytes() == values[id].spec.dtype.bytes()
            };
            if roots[id] != id || names.contains_key(&id) {
                continue;
            }
            if let Some(&input) = node.op.in_place(output).iter().find(fits) {
                taken[id] = operands[input];
                last_use[operands[input]] = last_use[id];
            }
        }
    }
    roots.iter_mut().for_each(|root| *root = taken[*root]);
}
