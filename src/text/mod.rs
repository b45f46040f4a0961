//! Characters, sub-words and their form, greedy CTC decoding, word and character error rates, subtitles: pure functions of text
//! and ids.

mod greedy;
mod normalize;
mod outside;
mod pieces;
mod subtitles;
mod vocabulary;
mod wer;

pub use greedy::{SECONDS_PER_FRAME, Timing, Word, greedy, words};
pub use normalize::{compose, normalize};
pub use outside::Outside;
pub use pieces::Pieces;
pub use subtitles::{Cue, cues, srt, vtt};
pub(crate) use vocabulary::Tokens;
pub use vocabulary::Vocabulary;
pub use wer::{ErrorRate, Evaluation, Score, evaluate, score};
