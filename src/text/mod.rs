//! Characters, sub-words and their form, words with times, word and character error rates, subtitles: pure functions of text
//! and ids.

mod confusions;
mod normalize;
mod outside;
mod pieces;
mod subtitles;
mod vocabulary;
mod wer;
mod word;

pub use confusions::{Confusion, Confusions};
pub use normalize::{compose, normalize};
pub use outside::Outside;
pub(crate) use pieces::BOUNDARY;
pub use pieces::Pieces;
#[cfg(feature = "cli")]
pub(crate) use subtitles::xml;
pub use subtitles::{Cue, cues, srt, textgrid, vtt};
pub(crate) use vocabulary::Tokens;
pub use vocabulary::Vocabulary;
#[cfg(feature = "cli")]
pub(crate) use wer::interval;
pub use wer::{ErrorRate, Evaluation, Score, evaluate, score};
pub use word::{SECONDS_PER_FRAME, Word, least_frames};
