//! Recordings that a figure does not include.

use std::collections::{BTreeMap, HashSet};

use serde::{Deserialize, Serialize};

use crate::error::Error;

/// A recording that a figure does not include, and why.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LeftOut {
    /// The recording's name, as in messages.
    pub audio_filepath: String,
    /// Where it was read: `manifest:line`, or the folder.
    pub origin: String,
    /// The reason, in one sentence.
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

    /// `utterance` is left out because of `error`, whose file needs no second naming.
    pub fn refused(utterance: &super::Utterance, error: &Error) -> Self {
        match error {
            Error::File { message, .. } => Self::new(utterance, message),
            other => Self::new(utterance, other),
        }
    }

    /// `utterance`, one of `clips` that are concatenated, is left out because no output of the `frames` encoder frames
    /// that `who` has says their text.
    pub fn impossible(
        utterance: &super::Utterance,
        needs: usize,
        frames: usize,
        who: &str,
        clips: usize,
    ) -> Self {
        let text = match clips {
            ..=1 => "its text needs".to_owned(),
            _ => format!("its text and those of {} clips joined with it need", clips - 1),
        };
        let reason = format!(
            "{text} {needs} encoder frames of 40 ms, and {who} has {frames}; correct the text, or add \
             features.silence"
        );
        Self::new(utterance, reason)
    }
}

/// That nothing can be read, and why not the first of `left_out`.
pub(super) fn nothing(left_out: &[LeftOut]) -> Error {
    let first = left_out.first().map_or(String::new(), |left| format!(", for {left}"));
    Error::invalid(format!("no recording can be read{first}; check the paths of the sources"))
}

/// The recording, where it is listed, and what is wrong.
impl std::fmt::Display for LeftOut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {} ({})", self.audio_filepath, self.reason, self.origin)
    }
}

/// The kinds of reason to leave a recording out of training or of a score.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Why {
    /// Its audio is absent, damaged or out of range.
    Unreadable,
    /// It is below `min_seconds`, or no frame long.
    TooShort,
    /// It is above `max_seconds`, or longer than the batch that its manifest planned for it.
    TooLong,
    /// Its text has more tokens than it has frames, which no output of the model can say.
    Impossible,
    /// Its text has characters that the vocabulary lacks: out of the loss alone.
    OutsideVocabulary,
    /// Its class is none of those that were learned: out of the loss alone.
    UnknownClass,
}

impl std::fmt::Display for Why {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Unreadable => "unreadable",
            Self::TooShort => "too short",
            Self::TooLong => "too long",
            Self::Impossible => "with a text too long for the audio",
            Self::OutsideVocabulary => "out of the loss alone, for characters outside the vocabulary",
            Self::UnknownClass => "out of the loss alone, for a class that was not learned",
        })
    }
}

/// Recordings that were left out, each once, in the order in which they were met.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Exclusions {
    list: Vec<(Why, LeftOut)>,
    known: HashSet<(Why, String, String)>,
}

impl Exclusions {
    /// Adds one; `false` where it is there already.
    pub fn add(&mut self, why: Why, left_out: LeftOut) -> bool {
        let new = self.known.insert((why, left_out.audio_filepath.clone(), left_out.origin.clone()));
        if new {
            self.list.push((why, left_out));
        }
        new
    }

    /// Adds those of `other`.
    pub fn extend(&mut self, other: &Self) {
        for (why, left_out) in &other.list {
            self.add(*why, left_out.clone());
        }
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (Why, &LeftOut)> {
        self.list.iter().map(|(why, left_out)| (*why, left_out))
    }

    /// The first `count` of them.
    pub fn first(&self, count: usize) -> Vec<LeftOut> {
        self.list.iter().take(count).map(|(_, left_out)| left_out.clone()).collect()
    }

    /// How many they are.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether nothing was left out.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// How many there are of a kind.
    pub fn count(&self, why: Why) -> usize {
        self.list.iter().filter(|(kind, _)| *kind == why).count()
    }

    /// How many there are of each kind.
    pub fn counts(&self) -> BTreeMap<Why, usize> {
        let mut counts = BTreeMap::new();
        for (why, _) in &self.list {
            *counts.entry(*why).or_default() += 1;
        }
        counts
    }
}

/// As `3 unreadable, 1 too long`.
impl std::fmt::Display for Exclusions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&counted(&self.counts()))
    }
}

/// Counts by kind as text: `3 unreadable, 1 too long`, or `none`.
pub fn counted(counts: &BTreeMap<Why, usize>) -> String {
    let parts: Vec<String> = counts.iter().map(|(why, count)| format!("{count} {why}")).collect();
    if parts.is_empty() { "none".to_owned() } else { parts.join(", ") }
}
