//! Scores of tasks of whole utterances: classification, and verification of speakers. Pure functions.

mod classes;
mod detection;
mod trials;

pub use classes::{ClassScore, Classification, classification};
pub(crate) use detection::cosine;
pub use detection::{Detection, Interval, Trial, Verification, all_pairs, verification};
pub use trials::{Listed, Names, parse};
