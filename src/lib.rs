//! Speech encoders on any GPU: WGSL kernels, a tensor graph with a backward pass, Polynomial Mixer
//! Conformers, BEST-RQ pre-training and CTC on [wgpu](https://docs.rs/wgpu).
//!
//! # Speech to text
//!
//! ```no_run
//! use std::{path::Path, sync::Arc};
//! use polymix::{audio, gpu::{Gpu, Selection}, models::{Recognizer, SavedModel}};
//!
//! # #[cfg(feature = "cli")]
//! # fn main() -> polymix::Result<()> {
//! let gpu = Arc::new(pollster::block_on(Gpu::new(&Selection::default()))?);
//! let mut recognizer = Recognizer::new(gpu, SavedModel::load(Path::new("web/model"))?)?;
//! let speech = audio::read("my.wav")?;
//! for recognized in pollster::block_on(recognizer.recognize(&[&speech.samples]))? {
//!     println!("{}", recognized.text);
//! }
//! # Ok(())
//! # }
//! # #[cfg(not(feature = "cli"))]
//! # fn main() {}
//! ```
//!
//! # A graph
//!
//! A graph is built from shapes and checked as it is built. Its gradients are nodes of the same graph. Nothing runs here;
//! a plan of it is compiled for a device by [`exec`].
//!
//! ```
//! use polymix::{graph::Graph, shape::Spec};
//!
//! # fn main() -> polymix::Result<()> {
//! let graph = Graph::new();
//! let scope = graph.root();
//! let x = scope.input("x", Spec::f32([2, 3]));
//! let y = scope.input("y", Spec::f32([2, 3]));
//! let loss = x.mul(&y)?.sum(0, 2)?;
//! assert_eq!(loss.shape().elements(), 1);
//! # #[cfg(feature = "autograd")]
//! # {
//! let one = graph.fill([1], 1.0)?.reshape(loss.dims().to_vec())?;
//! let gradients = polymix::autograd::gradients(&[(&loss, &one)], &[&x])?;
//! assert_eq!(gradients[0].as_ref().map(|gradient| gradient.dims().to_vec()), Some(vec![2, 3]));
//! # }
//! let z = scope.input("z", Spec::f32([4, 5]));
//! assert!(x.mul(&z).is_err(), "shapes that do not fit are an error");
//! # Ok(())
//! # }
//! ```
//!
//! # Modules
//!
//! | | |
//! |---|---|
//! | [`models`] | encoders, BEST-RQ, CTC; MODEL folders; recognizers of files and streams, features of every layer |
//! | [`audio`], [`text`], [`decode`] | waveforms to features; vocabularies, error rates, subtitles; beam search with language models |
//! | [`nn`] | layers: linear, norms, the Conformer's parts, one file a mixer |
//! | [`graph`], [`ops`], [`exec`] | tensors and nodes; operations; plans and executors |
//! | `autograd` | derivatives (feature `autograd`) |
//! | [`gpu`], [`shader`] | adapters, buffers, pipelines; the catalog of kernels |
//! | [`recipe`], [`weights`] | configuration of training; tensors in safetensors files |
//! | `adapt` | fine-tuning on a few takes (feature `autograd`) |
//! | `data`, `train`, `tasks`, `profile`, `files`, `cli` | corpora, training runs, scores of classes and speakers, measurements, the command (feature `cli`) |
//! | [`shape`], [`rng`], [`error`] | foundations |
//!
//! # Features
//!
//! `cli`, the default, has all that needs a native operating system. Without it the library builds for
//! `wasm32-unknown-unknown`. `autograd`, part of `cli`, adds derivatives and the f64 definitions of the operations.
//! `parquet` adds tables of the Hugging Face hub to the sources of data.
//!
//! # Stability
//!
//! Enums that are expected to grow are `#[non_exhaustive]`. Structs of settings gain fields in minor versions: make them
//! by `..Default::default()`.

#![warn(missing_docs)]

#[cfg(feature = "autograd")]
pub mod adapt;
pub mod audio;
#[cfg(feature = "autograd")]
pub mod autograd;
#[cfg(feature = "autograd")]
pub mod check;
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
#[cfg(test)]
mod modules;
pub mod nn;
pub mod ops;
#[cfg(feature = "cli")]
pub mod profile;
pub mod recipe;
pub mod rng;
pub mod shader;
pub mod shape;
#[cfg(feature = "cli")]
pub mod tasks;
pub mod text;
#[cfg(feature = "autograd")]
pub mod train;
pub mod weights;

pub use error::{Error, Remedy, Result};
