//! Matmuls with operands in f16.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::{Draft, Pass};
use crate::graph::{Node, Value, ValueId, ValueSource};
use crate::ops::layout::Cast;

/// Rounds the operands of matmuls to f16; weights are cast once a run, for all matmuls that read them.
#[derive(Debug)]
pub(super) struct MatMulF16;

impl Pass for MatMulF16 {
    fn run(&self, draft: &mut Draft) {
        // The weights in the order in which matmuls read them, each with its first reader.
        let (mut weights, mut known) = (Vec::new(), HashSet::new());
        let mut matmuls = HashSet::new();
        for (index, node) in draft.nodes.iter_mut().enumerate() {
            let Some(op) = node.op.with_f16_inputs() else { continue };
            node.op = op;
            matmuls.insert(index);
            for &id in node.inputs.iter().take(2) {
                let Value { source, spec, .. } = &draft.values[id];
                let is_weight = matches!(source, ValueSource::Stored(_));
                if is_weight && Cast::takes(&spec.shape) && known.insert(id) {
                    weights.push((id, index));
                }
            }
        }
        let mut casts: HashMap<ValueId, ValueId> = HashMap::new();
        let mut added: HashMap<usize, Vec<Node>> = HashMap::new();
        for group in weights.chunks(Cast::MOST) {
            let inputs: Vec<ValueId> = group.iter().map(|(id, _)| *id).collect();
            let first = group[0].1;
            let outputs: Vec<ValueId> = inputs.iter().map(|&id| draft.copy_of(id)).collect();
            casts.extend(inputs.iter().copied().zip(outputs.iter().copied()));
            let node =
                Node { op: Arc::new(Cast), inputs, outputs, section: None, ..draft.nodes[first].clone() };
            added.entry(first).or_default().push(node);
        }
        let nodes = std::mem::take(&mut draft.nodes);
        for (index, mut node) in nodes.into_iter().enumerate() {
            draft.nodes.extend(added.remove(&index).unwrap_or_default());
            if matmuls.contains(&index) {
                node.inputs.iter_mut().take(2).for_each(|id| *id = casts.get(id).copied().unwrap_or(*id));
            }
            draft.nodes.push(node);
        }
    }
}
