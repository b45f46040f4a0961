//! The random-projection quantizer's search.

mod nearest_code;

pub use nearest_code::NearestCode;
