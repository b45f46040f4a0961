//! Corpora: manifests, training examples, length buckets, batches made in the background.
//!
//! One direction: [`Corpus`] (what is recorded) → [`Examples`] (what one row of a batch hears) →
//! [`Sampler`] (which rows share a batch, in which order) → [`Loader`] (the batches themselves). The first
//! three are pure; equal inputs and seeds give equal results, so that a resumed run sees what an unbroken
//! one would have seen.

mod cache;
pub mod check;
pub mod convert;
mod examples;
mod identity;
mod left_out;
mod loader;
mod manifest;
mod parallel;
mod sampler;
mod sources;
mod statistics;

pub use cache::FeatureCache;
pub use examples::{Example, ExampleConfig, Examples, Segment};
pub use left_out::LeftOut;
pub use loader::{Batch, Loader, LoaderConfig};
pub use manifest::{Corpus, Utterance};
use parallel::parallel;
pub use sampler::{BatchIndex, BatchSize, BucketConfig, Order, PlannedBatch, Sampler};
pub use statistics::statistics;
