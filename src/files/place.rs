//! Resolution of links, and names beside a path.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

/// The target of a path's links.
#[derive(Debug, PartialEq)]
pub(super) enum Place {
    /// Nothing yet.
    Nothing(PathBuf),
    /// A file.
    File(PathBuf),
    /// A folder.
    Folder(PathBuf),
    /// A character device, a pipe, or an open file of a process, which keep what is written to them in order.
    Stream(PathBuf),
    /// A target that a program should not write to.
    Other(&'static str),
}

/// As many links as Linux follows.
const LINKS: usize = 40;

/// Follows the links of `path`.
///
/// # Errors
/// When a part of it cannot be read or is no folder, or the links form a circle.
pub(super) fn resolve(path: &Path) -> io::Result<Place> {
    // Without a slash at its end, which would follow a link.
    let mut path: PathBuf = path.components().collect();
    for _ in 0..LINKS {
        let kind = match std::fs::symlink_metadata(&path) {
            Ok(metadata) => metadata.file_type(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Place::Nothing(path)),
            Err(error) => return Err(error),
        };
        if kind.is_symlink() {
            let folder = parent(&path).canonicalize()?;
            // /dev/stdout, /dev/fd: a link whose text is no path.
            if folder.starts_with("/proc") {
                return Ok(Place::Stream(path));
            }
            path = folder.join(std::fs::read_link(&path)?);
            continue;
        }
        if kind.is_dir() {
            return Ok(Place::Folder(path.canonicalize()?));
        }
        if kind.is_file() {
            return Ok(Place::File(path));
        }
        return Ok(special(kind, path));
    }
    Err(io::Error::other("its links form a circle"))
}

#[cfg(unix)]
fn special(kind: std::fs::FileType, path: PathBuf) -> Place {
    use std::os::unix::fs::FileTypeExt;
    match kind {
        _ if kind.is_char_device() || kind.is_fifo() => Place::Stream(path),
        _ if kind.is_block_device() => Place::Other("a disk"),
        _ => Place::Other("a socket"),
    }
}

#[cfg(not(unix))]
fn special(_: std::fs::FileType, _: PathBuf) -> Place {
    Place::Other("no file")
}

/// The folder that holds `path`.
pub(super) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Where what will be `path` is made, and no name that a user gives a copy.
pub(super) fn aside(path: &Path) -> PathBuf {
    beside(path, ".polymix-partial")
}

/// Where the old `path` stands for the moment in which the new one takes its name.
pub(super) fn old(path: &Path) -> PathBuf {
    beside(path, ".polymix-old")
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.file_name().map_or_else(OsString::new, OsString::from);
    name.push(ending);
    path.with_file_name(name)
}
