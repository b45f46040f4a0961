//! Masks over padded frames.

mod mask_frames;
mod mask_weights;

pub use mask_frames::MaskFrames;
pub use mask_weights::MaskWeights;
