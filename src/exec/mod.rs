//! Plans and the two executors: dispatches, buffer assignment and one uniform blob, as plain data.

mod compile;
mod dispatch;
mod executor;
mod in_place;
mod memory;
mod options;
mod passes;
mod plan;
mod recorder;
#[cfg(feature = "autograd")]
pub mod reference;
#[cfg(not(target_arch = "wasm32"))]
mod self_test;
mod session;
mod store;
mod variant;

pub use dispatch::{Dispatch, Place, Region};
pub use executor::{Executor, KernelTime, Loaded};
pub use options::{Compute, PlanOptions, Recompute, SavedActivations};
pub use plan::Plan;
pub use recorder::{Memory, Operand, Recorder};
#[cfg(not(target_arch = "wasm32"))]
pub(crate) use self_test::matrices;
pub use session::Session;
pub use store::{Entry, Store, arena_bytes, arena_elements};
pub use variant::{Choice, Class, Constants, Unmet, Work};
