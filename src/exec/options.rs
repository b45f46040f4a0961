//! Options of plans.

use serde::{Deserialize, Serialize};

/// What a plan recomputes, how it saves activations, and in what precision it computes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PlanOptions {
    /// Activation checkpointing.
    #[serde(rename = "checkpoint")]
    pub recompute: Recompute,
    /// How activations are saved that are not recomputed.
    pub saved_activations: SavedActivations,
    /// Precision of activations and of the operands of matmuls.
    pub compute: Compute,
}

/// Activation checkpointing: what the backward pass recomputes, so that it is not kept in memory. All give the same
/// bits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Recompute {
    /// Nothing.
    None,
    /// Elementwise and row operations: activations, norms, dropout, gates.
    #[default]
    Cheap,
    /// Whole sections, such as layers, from their inputs; inside them, elementwise and row operations.
    Layer,
}

/// How a training step saves the activations that its backward pass reads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum SavedActivations {
    /// In f32.
    #[default]
    F32,
    /// Rounded to f16, in half the memory. The forward pass has the same bits; gradients differ from those of
    /// [`Self::F32`] by the rounding to 11 binary digits.
    F16,
}

/// Precision of activations, of their gradients, and of the operands of matmuls, in training and inference. Arithmetic but for
/// the products of matmuls, sums, statistics of norms, scores, losses, parameters, their gradients and the optimizer are
/// f32 always.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Compute {
    /// All in f32.
    #[default]
    F32,
    /// Matmuls multiply in f16, and values between kernels that support it are stored in f16, two to a u32: those beyond the
    /// largest f16, 65504, are infinite. Adapters with cooperative matrices multiply f16 faster; others give the same
    /// results. Training needs a scaled loss, so that gradients fit into f16.
    F16,
}
