//! Element-wise maps and broadcasts.

mod activation;
mod affine;
mod binary;
mod chain;
mod glu;
mod root;

pub use activation::{Activation, ActivationKind};
pub use affine::Affine;
pub use binary::{Binary, BinaryKind};
pub use chain::Chain;
pub use glu::Glu;
pub use root::Root;
