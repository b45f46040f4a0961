//! Masks over padded frames.

mod mask_frames;

pub use mask_frames::MaskFrames;
