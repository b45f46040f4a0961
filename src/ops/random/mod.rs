//! Random operations: pure functions of (seed, optimizer step, micro-batch), given as an input, of the stream of
//! their place in the model and of the element's number, so that backward, recomputation and resumption
//! draw the same bits. The generator is [`crate::rng`]'s, word for word.

mod dropout;
mod masked_noise;

pub use dropout::Dropout;
pub use masked_noise::MaskedNoise;

use crate::ops::Array;
use crate::rng::mix;

/// The key of `stream` under `rng` = (seed, optimizer step, micro-batch).
fn key(rng: &Array, stream: u32) -> u32 {
    mix(&[rng[[0]] as u32, rng[[1]] as u32, rng[[2]] as u32, stream])
}
