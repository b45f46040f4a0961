//! Plans and the two executors: dispatches, buffer assignment and one uniform blob, as plain data.

mod executor;
mod fuse;
mod memory;
mod plan;
#[cfg(feature = "autograd")]
mod recompute;
mod recorder;
#[cfg(feature = "autograd")]
pub mod reference;
#[cfg(feature = "autograd")]
mod saved;
mod store;
mod variant;

pub use executor::{Executor, KernelTime, Loaded};
pub use plan::{Place, Plan, Region, Step};
pub use recorder::{Memory, Operand, Recorder};
pub use store::{Entry, Store};
pub use variant::{Choice, Constants, Work};
