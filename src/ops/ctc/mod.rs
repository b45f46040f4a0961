//! Connectionist temporal classification: the loss of a label sequence that is not aligned to the frames.

mod definition;
mod loss;

pub use loss::{CtcLoss, CtcLossBackward};
