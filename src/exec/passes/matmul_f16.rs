//! Matmuls with operands in f16.

use super::{Draft, Pass};

/// Rounds the operands of matmuls to f16.
#[derive(Debug)]
pub(super) struct MatMulF16;

impl Pass for MatMulF16 {
    fn run(&self, draft: &mut Draft) {
        for node in &mut draft.nodes {
            if let Some(op) = node.op.with_f16_inputs() {
                node.op = op;
            }
        }
    }
}
