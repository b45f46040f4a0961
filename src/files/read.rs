//! Opening and reading files, with remedies for errors of the system.

use std::fs::{File, Metadata};
use std::io;
use std::path::{Path, PathBuf};

use super::refusal::unreadable;
use crate::error::Result;

/// Opens the file `path` to be read.
///
/// # Errors
/// When it is a folder or cannot be read; the message has the remedy.
pub(crate) fn open(path: &Path) -> Result<File> {
    opened(path).map_err(|error| unreadable(path, &error))
}

/// As [`open`], for callers that word the error.
pub(crate) fn opened(path: &Path) -> io::Result<File> {
    let file = File::open(path)?;
    // A folder can be opened, and says at its first byte only that it is one.
    match file.metadata()?.is_dir() {
        true => Err(io::ErrorKind::IsADirectory.into()),
        false => Ok(file),
    }
}

/// The bytes of the file `path`.
///
/// # Errors
/// As for [`open`].
pub(crate) fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|error| unreadable(path, &error))
}

/// The text of the file `path`.
///
/// # Errors
/// As for [`open`], and when it is not UTF-8.
pub(crate) fn read_text(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).map_err(|error| unreadable(path, &error))
}

/// The names in the folder `path`, in no order.
///
/// # Errors
/// When it is no folder or cannot be read.
pub(crate) fn entries(path: &Path) -> Result<Vec<PathBuf>> {
    let entries = || std::fs::read_dir(path)?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>();
    entries().map_err(|error| unreadable(path, &error))
}

/// The kind of file at the end of the links of `path`; `None` if there is none.
///
/// # Errors
/// When the system does not tell, as of a folder that this user may not enter.
pub(crate) fn about(path: &Path) -> Result<Option<Metadata>> {
    match std::fs::metadata(path) {
        Ok(metadata) => Ok(Some(metadata)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(error) => Err(unreadable(path, &error)),
    }
}

/// Whether `path` is a file, at the end of its links.
///
/// # Errors
/// As for [`about`].
pub(crate) fn is_file(path: &Path) -> Result<bool> {
    Ok(about(path)?.is_some_and(|metadata| metadata.is_file()))
}
