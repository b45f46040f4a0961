//! Dead code elimination.

use super::Draft;
use crate::graph::{ValueSource, roots};

/// Keeps the nodes that outputs, stored values and updates in place depend on.
pub(super) fn drop_unused(draft: &mut Draft) {
    let Draft { values, nodes, outputs } = draft;
    let roots = roots(values, nodes);
    let mut wanted = vec![false; values.len()];
    let mut named = vec![false; values.len()];
    outputs.iter().for_each(|(_, tensor)| wanted[tensor.id()] = true);
    for (id, value) in values.iter().enumerate() {
        let stored = matches!(value.source, ValueSource::Stored(_) | ValueSource::Constant(..));
        named[roots[id]] |= stored || value.store.is_some();
    }
    let mut needed = vec![false; nodes.len()];
    for (index, node) in nodes.iter().enumerate().rev() {
        if node.outputs.iter().any(|&id| wanted[id] || named[roots[id]]) {
            needed[index] = true;
            node.inputs.iter().for_each(|&id| wanted[id] = true);
        }
    }
    let mut needed = needed.into_iter();
    nodes.retain(|_| needed.next() == Some(true));
}
