//! Matrix products: batched, transposed by flags, with a bias.

mod half_product;
mod kernel;
mod product;

pub use half_product::HalfMatMul;
pub use product::MatMul;
