//! Views and copies: reshape, permute, slice, concatenate, pad, gather and scatter of rows.

mod reshape;
mod vectors;

pub use reshape::Reshape;
pub(crate) use vectors::by_four;
