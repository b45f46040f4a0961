//! Views and copies: reshape, permute, slice, concatenate, pad, gather and scatter of rows, casts, conversion to halves.

mod cast;
mod concat;
mod copy;
mod fill;
#[cfg(feature = "autograd")]
mod half;
mod permute;
mod reshape;
mod rows;
mod slice;

pub use cast::Cast;
pub use concat::Concat;
pub use copy::Copy;
pub use fill::Fill;
#[cfg(feature = "autograd")]
pub use half::{FromHalf, ToHalf};
pub use permute::Permute;
pub use reshape::Reshape;
pub use rows::{GatherRows, ScatterRows};
pub use slice::{Pad, Slice};
