//! Views and copies: reshape, permute, slice, concatenate, pad, gather and scatter of rows.

mod reshape;

pub use reshape::Reshape;
