//! The optimizer's operations on whole flat arenas: norms, clipping, AdamW, accumulation. They update in
//! place and have no derivative.

mod accumulate;
mod adamw;
mod clip_grad_norm;
mod grow_loss_scale;
mod squared_norm;

pub use accumulate::Accumulate;
pub use adamw::AdamW;
pub use clip_grad_norm::ClipGradNorm;
pub use grow_loss_scale::GrowLossScale;
pub use squared_norm::SquaredNorm;
