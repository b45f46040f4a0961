//! The scale of the loss in mixed precision.

use serde::{Deserialize, Serialize};

use crate::exec::Compute;
use crate::graph::{Graph, Tensor};
use crate::shape::Spec;

/// With operands in f16 the loss is multiplied by `scale` before it is differentiated, so that small gradients do not
/// vanish, and gradients are divided by it before the update. A step whose gradient is not finite is left out and halves
/// the scale; a row of finite ones doubles it.
///
/// The device holds it and changes it; this is its copy for logs and checkpoints.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LossScale {
    /// The loss scale; a power of 2.
    pub scale: f32,
    /// Finite steps since it changed.
    pub finite_steps: f32,
}

/// Finite steps in a row after which the scale grows.
pub(super) const GROWTH_INTERVAL: u32 = 2000;
/// The store's name of [scale, finite steps].
pub(super) const LOSS_SCALE: &str = "loss_scale";

impl LossScale {
    /// Where training begins, if it scales its loss at all.
    pub fn of(compute: Compute) -> Option<Self> {
        match compute {
            Compute::F32 => None,
            Compute::F16 => Some(Self { scale: 65_536.0, finite_steps: 0.0 }),
        }
    }

    /// Whether it cannot fall any further.
    pub fn is_smallest(self) -> bool {
        self.scale <= 1.0
    }

    /// Its shape in the store.
    pub(super) fn spec() -> Spec {
        Spec::f32([2])
    }

    /// The one on the device.
    pub(super) fn stored(graph: &Graph) -> Tensor {
        graph.stored(LOSS_SCALE, Self::spec())
    }
}
