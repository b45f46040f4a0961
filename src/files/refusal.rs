//! What the file system refuses, as a sentence with the remedy.

use std::io::{Error as IoError, ErrorKind};
use std::path::Path;

use super::place::parent;
use crate::error::Error;

/// `path` cannot be written.
pub(crate) fn refused(path: &Path, error: &IoError) -> Error {
    let (reason, remedy) = reason(path, error);
    Error::file(path, format!("cannot be written ({reason}); {remedy}"))
}

/// `path` cannot be removed.
pub(super) fn kept(path: &Path, error: &IoError) -> Error {
    let (reason, remedy) = reason(path, error);
    Error::file(path, format!("cannot be removed ({reason}); {remedy}"))
}

/// Another process writes `path`.
pub(super) fn taken(path: &Path) -> Error {
    Error::file(path, "is being written by another process; wait for it, or choose another place")
}

/// What of the names of `path` is in the way of a folder.
fn obstacle(path: &Path) -> Option<&Path> {
    path.ancestors().find(|ancestor| ancestor.exists() && !ancestor.is_dir())
}

/// The folder whose permissions decide whether `path` can be written.
fn nearest(path: &Path) -> &Path {
    let mut folder = parent(path);
    while !folder.is_dir() && folder != Path::new(".") {
        folder = parent(folder);
    }
    folder
}

fn reason(path: &Path, error: &IoError) -> (String, String) {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default().to_owned();
    let remedy = match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "free space, or choose another place",
        ErrorKind::FileTooLarge => "raise the limit of a file's size (ulimit -f), or choose another place",
        ErrorKind::PermissionDenied => {
            let folder = nearest(path).display().to_string();
            return (text, format!("let this user write in {folder}, or choose another place"));
        }
        ErrorKind::ReadOnlyFilesystem => "mount the file system for writing, or choose another place",
        ErrorKind::NotADirectory | ErrorKind::AlreadyExists => match obstacle(path) {
            Some(file) => {
                return (format!("{} is no folder", file.display()), "choose another place".to_owned());
            }
            None => "choose another place",
        },
        ErrorKind::IsADirectory => "give the name of a file",
        ErrorKind::InvalidFilename => "choose a shorter name",
        ErrorKind::TooManyLinks => "remove some of the folder's folders, or choose another place",
        ErrorKind::ResourceBusy => "it is in use or mounted there; give a folder inside it",
        ErrorKind::BrokenPipe => "start its reader, then this again",
        ErrorKind::NotFound => "a folder of its path was removed meanwhile; try again",
        ErrorKind::StaleNetworkFileHandle => "connect to the network's disk again",
        _ => return (text, of_system(error).to_owned()),
    };
    (text, remedy.to_owned())
}

/// The remedy of what has no kind.
#[cfg(unix)]
fn of_system(error: &IoError) -> &'static str {
    use rustix::io::Errno;
    match Errno::from_io_error(error) {
        Some(Errno::MFILE | Errno::NFILE) => "raise the limit of open files (ulimit -n)",
        Some(Errno::IO) => "check the disk, or choose another place",
        Some(Errno::LOOP) => "mend its links, or choose another place",
        _ => "choose another place",
    }
}

#[cfg(not(unix))]
fn of_system(_: &IoError) -> &'static str {
    "choose another place"
}
