//! Errors of the file system as sentences with the remedy.

use std::io::{Error as IoError, ErrorKind};
use std::path::Path;

use super::place::parent;
use crate::error::Error;

/// `path` cannot be written.
pub(crate) fn refused(path: &Path, error: &IoError) -> Error {
    let (reason, remedy) = reason(path, error);
    Error::file(path, format!("cannot be written ({reason}); {remedy}"))
}

/// `path` cannot be read.
pub(crate) fn unreadable(path: &Path, error: &IoError) -> Error {
    Error::file(path, not_read(Some(path), error))
}

/// That something cannot be read, and the remedy, as what follows its name; `path` is where it is, if it is known.
pub(crate) fn not_read(path: Option<&Path>, error: &IoError) -> String {
    let mut reason = text(error);
    let remedy = match error.kind() {
        ErrorKind::NotFound => match path.and_then(missing_folder) {
            Some(folder) => {
                reason = format!("there is no folder {}", folder.display());
                "correct the path, or mount what holds it"
            }
            None => "correct its name, or put it there",
        },
        ErrorKind::PermissionDenied => match path.and_then(closed_folder) {
            Some(folder) => {
                return format!("cannot be read ({reason}); let this user into {}", folder.display());
            }
            None => "let this user read it",
        },
        ErrorKind::IsADirectory => "it is a folder; give a file",
        ErrorKind::NotADirectory => match path.and_then(obstacle) {
            Some(file) => {
                return format!("cannot be read ({} is no folder); correct the path", file.display());
            }
            None => "correct the path",
        },
        ErrorKind::InvalidFilename => "correct its name, which is longer than any that the file system has",
        ErrorKind::InvalidInput if error.raw_os_error().is_none() => "correct its name",
        ErrorKind::InvalidData if error.raw_os_error().is_none() => {
            "it is damaged or no UTF-8; fetch it again, or save it as UTF-8"
        }
        ErrorKind::UnexpectedEof => "it is cut short; fetch it again",
        ErrorKind::OutOfMemory => "free memory, or give a smaller file",
        ErrorKind::StaleNetworkFileHandle
        | ErrorKind::NotConnected
        | ErrorKind::ConnectionReset
        | ErrorKind::ConnectionAborted
        | ErrorKind::TimedOut
        | ErrorKind::HostUnreachable
        | ErrorKind::NetworkUnreachable
        | ErrorKind::NetworkDown => "connect to the network's disk again",
        _ if error.raw_os_error().is_none() => "fetch it again",
        _ => of_reading(error),
    };
    format!("cannot be read ({reason}); {remedy}")
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

/// The first folder of `path` that is not there, if one is not.
fn missing_folder(path: &Path) -> Option<&Path> {
    let folders = path.ancestors().skip(1).filter(|folder| !folder.as_os_str().is_empty());
    folders.take_while(|folder| std::fs::symlink_metadata(folder).is_err()).last()
}

/// The folder of `path` that this user may not enter, if there is one.
fn closed_folder(path: &Path) -> Option<&Path> {
    let closed = std::fs::symlink_metadata(path).is_err();
    let mut folders = path.ancestors().skip(1).filter(|folder| !folder.as_os_str().is_empty());
    closed.then(|| folders.find(|folder| std::fs::symlink_metadata(folder).is_ok()))?
}

/// The system's words, without its number.
fn text(error: &IoError) -> String {
    error.to_string().split(" (os error").next().unwrap_or_default().to_owned()
}

fn reason(path: &Path, error: &IoError) -> (String, String) {
    let text = text(error);
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

/// The remedy of reading's errors that have no kind.
#[cfg(unix)]
fn of_reading(error: &IoError) -> &'static str {
    use rustix::io::Errno;
    match Errno::from_io_error(error) {
        Some(Errno::MFILE | Errno::NFILE) => "raise the limit of open files (ulimit -n)",
        Some(Errno::IO | Errno::NODATA) => "check the disk or the connection, or copy the file elsewhere",
        Some(Errno::LOOP) => "mend its links",
        Some(Errno::NXIO | Errno::NODEV) => "it is a socket or a device that is not there; give a file",
        Some(Errno::NOMEM) => "free memory",
        _ => "check the disk that holds it, or copy the file elsewhere",
    }
}

#[cfg(not(unix))]
fn of_reading(_: &IoError) -> &'static str {
    "check the disk that holds it, or copy the file elsewhere"
}

#[cfg(not(unix))]
fn of_system(_: &IoError) -> &'static str {
    "choose another place"
}
