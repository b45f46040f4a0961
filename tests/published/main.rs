//! The published implementation's values: activations, losses, gradients of every parameter, a trajectory.
//!
//! They lie in the optional data folder (`POLYMIX_SHARED`, by default beside the checkout); without it the
//! tests say that they are skipped.

#[path = "../adapter/mod.rs"]
mod adapter;
mod files;
mod mixers;
mod models;
