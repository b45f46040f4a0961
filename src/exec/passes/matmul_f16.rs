//! Matmuls with operands in f16.

use super::{Draft, Pass};

/// Replaces operations by those that round their operands to f16, where there are such.
#[derive(Debug)]
pub(super) struct MatMulF16;

impl Pass for MatMulF16 {
    fn run(&self, draft: &mut Draft) {
        for node in &mut draft.nodes {
            if let Some(op) = node.op.in_halves() {
                node.op = op;
            }
        }
    }
}
