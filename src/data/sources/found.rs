//! The utterances that sources give, with errors.

use crate::data::Utterance;
use crate::error::{Error, Result};

/// Utterances, and what is wrong with the sources.
#[derive(Debug, Default)]
pub(in crate::data) struct Found {
    /// In the order of the sources.
    pub utterances: Vec<Utterance>,
    /// Lines and files that are wrong, where these are kept.
    pub broken: Vec<Error>,
    /// Recordings that are left out by rule, in sentences.
    pub notes: Vec<String>,
    /// Bytes of audio that are kept in memory.
    #[cfg(feature = "parquet")]
    pub kept_bytes: u64,
    keeps_errors: bool,
}

impl Found {
    /// Keeps errors and goes on; without it the first one ends the reading.
    pub fn keeping_errors() -> Self {
        Self { keeps_errors: true, ..Self::default() }
    }

    /// The value, or `None` and a kept error.
    ///
    /// # Errors
    /// When errors are not kept.
    pub fn keep<T>(&mut self, value: Result<T>) -> Result<Option<T>> {
        match value {
            Ok(value) => Ok(Some(value)),
            Err(error) if self.keeps_errors => {
                self.broken.push(error);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Adds an utterance, or keeps why it is none.
    ///
    /// # Errors
    /// When errors are not kept.
    pub fn add(&mut self, utterance: Result<Utterance>) -> Result<()> {
        let utterance = self.keep(utterance)?;
        self.utterances.extend(utterance);
        Ok(())
    }

    /// Says what is left out.
    pub fn note(&mut self, note: String) {
        self.notes.push(note);
    }

    /// Utterances and errors so far.
    pub fn count(&self) -> usize {
        self.utterances.len() + self.broken.len()
    }
}
