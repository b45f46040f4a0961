//! Convolutions over channels-last tensors.

mod conv2d;
mod conv2d_backward;

pub use conv2d::Conv2d;
