//! Normalisation over the last axis: layer normalisation, softmax and its logarithm.

mod layer_norm;
mod softmax;

pub use layer_norm::LayerNorm;
pub use softmax::{LogSoftmax, Softmax};
