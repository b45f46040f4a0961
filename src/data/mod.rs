//! Corpora: manifests, training examples, length buckets, batches made in the background.
//!
//! One direction: [`Corpus`] (what is recorded) → [`Lengths`] (how long it is) → [`Examples`] (what one row of a
//! batch reads) → [`Sampler`] (which rows share a batch, in which order) → [`Loader`] (the batches themselves).
//! Examples and sampler are pure; equal inputs and seeds give equal results, so that a resumed run sees what an
//! unbroken one would have seen. Files that cannot be used are in [`Exclusions`].

pub mod bench;
mod cache;
pub mod check;
pub mod convert;
mod examples;
mod identity;
mod left_out;
mod lengths;
mod loader;
mod manifest;
mod number;
pub mod pack;
mod parallel;
mod sampler;
mod sources;
mod statistics;
mod strings;

pub use cache::FeatureCache;
pub use examples::{Example, ExampleConfig, Examples, Segment};
pub use identity::{Hash, Identity};
pub use left_out::{Exclusions, LeftOut, Why, counted};
pub use lengths::{Lengths, TOLERANCE_SECONDS};
pub use loader::{Batch, Loader, LoaderConfig, Share};
pub use manifest::{Corpus, Utterance};
use parallel::parallel;
pub(crate) use sampler::spread;
pub use sampler::{BatchIndex, BatchSize, BucketConfig, Order, PlannedBatch, Sampler};
pub(crate) use sources::is_list_name;
pub use statistics::{statistics, statistics_sample};
