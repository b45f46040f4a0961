//! Losses over classes and the choice of the best class.

mod argmax;
mod cross_entropy;

pub use argmax::Argmax;
pub use cross_entropy::CrossEntropy;
