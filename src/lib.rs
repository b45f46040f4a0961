//! Speech encoders on any GPU: WGSL kernels, a tensor graph with a backward pass, Polynomial Mixer
//! Conformers, BEST-RQ pre-training and CTC on wgpu.

#![warn(missing_docs)]

pub mod audio;
#[cfg(feature = "autograd")]
pub mod autograd;
#[cfg(feature = "cli")]
pub mod cli;
#[cfg(feature = "cli")]
pub mod data;
pub mod decode;
pub mod error;
pub mod exec;
#[cfg(feature = "cli")]
pub mod files;
pub mod gpu;
pub mod graph;
pub mod models;
pub mod nn;
pub mod ops;
#[cfg(feature = "cli")]
pub mod profile;
pub mod recipe;
pub mod rng;
#[cfg(test)]
mod rooms;
pub mod shader;
pub mod shape;
pub mod text;
#[cfg(feature = "cli")]
pub mod train;
pub mod weights;

pub use error::{Error, Result};
