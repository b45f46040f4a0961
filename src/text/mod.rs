//! Characters and their form, greedy CTC decoding, and word and character error rates: pure functions of text and ids.

mod greedy;
mod normalize;
mod vocabulary;
mod wer;

pub use greedy::{SECONDS_PER_FRAME, Timing, Word, greedy, words};
pub use normalize::{compose, normalize};
pub use vocabulary::Vocabulary;
pub use wer::{ErrorRate, Evaluation, Score, edit_distance, evaluate, score};
