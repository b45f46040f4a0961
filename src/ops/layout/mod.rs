//! Views and copies: reshape, permute, slice, concatenate, pad, gather and scatter of rows, casts, conversion to f16.

mod cast;
mod concat;
mod copy;
#[cfg(feature = "autograd")]
mod f16;
mod fill;
mod permute;
mod reshape;
mod rows;
mod slice;

pub use cast::Cast;
pub use concat::Concat;
pub use copy::Copy;
#[cfg(feature = "autograd")]
pub use f16::{FromF16, ToF16};
pub use fill::Fill;
pub use permute::Permute;
pub use reshape::Reshape;
pub use rows::{GatherRows, ScatterRows};
pub use slice::{Pad, Slice};
