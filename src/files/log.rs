//! Files that are appended line by line.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};

use super::operation;
use super::refusal::refused;
use crate::error::Result;

/// A file that more is appended to. What is appended is there whole or not at all while the process lives; one that is
/// killed may leave the beginning of its last piece.
#[derive(Debug)]
pub struct Log {
    path: PathBuf,
    file: File,
}

impl Log {
    /// Opens the file `path` for more.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn open(path: &Path) -> Result<Self> {
        Self::with(path, OpenOptions::new().create(true).append(true))
    }

    /// Begins the file `path`; `None` where it is there already.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn create(path: &Path) -> Result<Option<Self>> {
        match std::fs::symlink_metadata(path) {
            Ok(_) => Ok(None),
            Err(_) => Self::with(path, OpenOptions::new().create_new(true).append(true)).map(Some),
        }
    }

    fn with(path: &Path, options: &OpenOptions) -> Result<Self> {
        let file = operation::open(path, options).map_err(|error| refused(path, &error))?;
        Ok(Self { path: path.to_path_buf(), file })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes `bytes` at the end, where they are seen by others when this returns.
    ///
    /// # Errors
    /// When the disk is full; nothing of `bytes` is left then.
    pub fn append(&mut self, bytes: &[u8]) -> Result<()> {
        let append = || {
            let length = self.file.metadata()?.len();
            operation::write(&self.path, &self.file, bytes).inspect_err(|_| {
                let _ = operation::truncate(&self.path, &self.file, length);
            })
        };
        append().map_err(|error| refused(&self.path, &error))
    }
}
