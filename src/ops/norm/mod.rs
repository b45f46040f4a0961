//! Normalization over the last axis: layer normalization, softmax and its logarithm.

mod layer_norm;
mod softmax;

pub use layer_norm::{AddedLayerNorm, LayerNorm, LayerNormBackward};
pub use softmax::{LogSoftmax, Softmax};
