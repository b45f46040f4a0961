//! Speech encoders on any GPU: WGSL kernels, a tensor graph with a backward pass, Polynomial Mixer
//! Conformers, BEST-RQ pre-training and CTC on wgpu.

#![warn(missing_docs)]

pub mod autograd;
pub mod error;
pub mod exec;
pub mod gpu;
pub mod graph;
pub mod ops;
pub mod rng;
pub mod shader;
pub mod shape;

pub use error::{Error, Result};
