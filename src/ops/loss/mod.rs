//! Losses over classes and the choice of the best or likely ones.

mod angular_margin;
mod argmax;
mod cross_entropy;
mod likely;

pub use angular_margin::AngularMargin;
pub use argmax::Argmax;
pub use cross_entropy::CrossEntropy;
pub use likely::Likely;
