//! Reductions over axes. Long sums are two-level: their error does not grow with the length.

mod sum;

pub use sum::Sum;
