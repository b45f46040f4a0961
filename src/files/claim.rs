//! Claims: files that name the process that owns something.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::Read;
use std::path::{Path, PathBuf};

use super::operation;
use super::refusal::refused;
use super::whole::{is_named, try_lock};
use crate::error::Result;

/// A file that is locked as long as this process has it, and goes with that. The system takes the lock back when the
/// process ends, however it does, so that a file that is left over holds nobody up.
#[derive(Debug)]
pub(crate) struct Claim {
    /// Keeps the lock.
    file: File,
    path: PathBuf,
}

/// Who has a file.
pub(crate) enum Owner {
    /// This process.
    Mine(Claim),
    /// Another one, which wrote this into it.
    Other(String),
}

impl Claim {
    /// Takes the file `path`, and writes into it that `owner` has it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn take(path: &Path, owner: &str) -> Result<Owner> {
        let failed = |error: std::io::Error| refused(path, &error);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        loop {
            let file = operation::open(path, &options).map_err(failed)?;
            match try_lock(&file) {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => {
                    let mut other = String::new();
                    let _ = file.take(300).read_to_string(&mut other);
                    return Ok(Owner::Other(other));
                }
                Err(TryLockError::Error(error)) => {
                    tracing::warn!(
                        "{}: this file system keeps no locks ({error}); see that no other process uses it",
                        path.display()
                    );
                }
            }
            // Its last owner may have removed it since it was opened.
            if !is_named(&file, path) {
                continue;
            }
            let claim = Self { file, path: path.to_path_buf() };
            operation::truncate(path, &claim.file, 0)
                .and_then(|()| operation::write(path, &claim.file, owner.as_bytes()))
                .map_err(failed)?;
            return Ok(Owner::Mine(claim));
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let _ = operation::remove_file(&self.path);
    }
}
