//! Characters, greedy CTC decoding, and word and character error rates: pure functions of text and ids.

mod greedy;
mod vocabulary;
mod wer;

pub use greedy::{SECONDS_PER_FRAME, Timing, Word, greedy, words};
pub(crate) use vocabulary::Tokens;
pub use vocabulary::{Vocabulary, normalize};
pub use wer::{ErrorRate, Evaluation, Score, edit_distance, evaluate, score};
