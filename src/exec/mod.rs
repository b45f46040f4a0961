//! Plans and the two executors: dispatches, buffer assignment and one uniform blob, as plain data.

mod executor;
mod fuse;
mod memory;
mod options;
mod plan;
#[cfg(feature = "autograd")]
mod recompute;
mod recorder;
#[cfg(feature = "autograd")]
pub mod reference;
#[cfg(feature = "autograd")]
mod saved;
mod store;

pub use executor::{Executor, KernelTime, Loaded};
pub use options::{Compute, PlanOptions, Recompute, SavedActivations};
pub use plan::{Place, Plan, Region};
pub use recorder::{Dispatch, Memory, Operand, Recorder};
pub use store::{Entry, Store};
