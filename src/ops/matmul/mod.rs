//! Matrix multiplication: batched, transposed by flags, with a bias.

mod kernel;
mod mat_mul;
mod planned;
mod weight_gradient;

pub use mat_mul::MatMul;
pub use planned::PlannedMatMul;
pub use weight_gradient::WeightGradient;
