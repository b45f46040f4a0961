//! Every kernel against the f64 definition of its operation, on any adapter: what `polymix check` and the kernel suite run.

mod case;
pub mod cases;
mod prepared;
mod report;
mod run;
mod sample;
#[cfg(feature = "cli")]
pub mod steps;
#[cfg(not(target_arch = "wasm32"))]
mod tune;

pub use case::{Arg, Case, Tolerance};
pub use prepared::{Difference, Outcome, Prepared, works_in_place};
pub use report::{KernelReport, Left, Report, StepReport};
pub use run::{Extent, run};
#[cfg(not(target_arch = "wasm32"))]
pub use tune::{Measured, Tuning, tune};

#[cfg(all(test, feature = "cli"))]
mod tests;
