//! Matrix multiplication: batched, transposed by flags, with a bias.

mod kernel;
mod mat_mul;
mod planned;

pub use mat_mul::MatMul;
pub use planned::PlannedMatMul;
