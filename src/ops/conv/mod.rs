//! Convolutions over channels-last tensors.

mod conv2d;
mod conv2d_backward;
mod depthwise_conv1d;

pub use conv2d::Conv2d;
pub(super) use conv2d_backward::sum_chunks;
pub use depthwise_conv1d::DepthwiseConv1d;
