//! Views and copies: reshape, permute, slice, concatenate, pad, gather and scatter of rows.

mod concat;
mod copy;
mod fill;
mod permute;
mod reshape;
mod rows;
mod slice;
mod vectors;

pub use concat::Concat;
pub use copy::Copy;
pub use fill::Fill;
pub use permute::Permute;
pub use reshape::Reshape;
pub use rows::{GatherRows, ScatterRows};
pub use slice::{Pad, Slice};
pub(crate) use vectors::by_four;
