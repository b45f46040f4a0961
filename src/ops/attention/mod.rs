//! Scaled dot-product attention in one kernel, without a tensor of times × times.

mod backward;
mod definition;
mod scaled_dot_product;
mod walk;

pub use scaled_dot_product::{Attention, Positions, QkvLayout};
