//! What a figure does not include.

use serde::{Deserialize, Serialize};

/// A recording that a figure does not include, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// The recording's name, as in messages.
    pub audio_filepath: String,
    /// Where it was read: `manifest:line`, or the folder.
    pub origin: String,
    /// What is wrong with it, in one sentence.
    pub reason: String,
}

impl LeftOut {
    /// `utterance` is left out because of `reason`.
    pub fn new(utterance: &super::Utterance, reason: impl std::fmt::Display) -> Self {
        Self {
            audio_filepath: utterance.audio.to_string(),
            origin: utterance.origin.clone(),
            reason: reason.to_string(),
        }
    }
}
