//! Matrix products: batched, transposed by flags, with a bias.

mod kernel;
mod planned;
mod product;

pub use planned::PlannedMatMul;
pub use product::MatMul;
