//! Matrix products: batched, transposed by flags, with a bias.

mod kernel;
mod product;

pub use product::MatMul;
