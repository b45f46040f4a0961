//! Atomic creation of folders, and leftovers of killed processes.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use super::operation;
use super::place::{Place, aside, old, parent, resolve};
use super::refusal::{kept, refused, taken};
use super::whole::{is_named, try_lock};
use crate::error::{Error, Result};

/// A folder under way, which takes its name, and the place of what had it, in [`finish`](Self::finish). Dropped
/// before, it leaves nothing.
#[derive(Debug)]
pub struct NewFolder {
    /// The final name.
    path: PathBuf,
    aside: PathBuf,
    end: PathBuf,
    /// Held as long as this process writes there.
    _lock: Option<File>,
    finished: bool,
}

impl NewFolder {
    /// Begins the folder `path`. The folder that holds it is made where there is none.
    ///
    /// # Errors
    /// When `path` is a file or the folder that the process is in, cannot be written, or another process writes it.
    pub fn create(path: &Path) -> Result<Self> {
        let end = end_of(path)?;
        let here = std::env::current_dir().and_then(|here| here.canonicalize());
        if end.is_absolute() && here.is_ok_and(|here| here.starts_with(&end)) {
            return Err(Error::file(
                path,
                "holds the folder that this was started in, and would be replaced; start it elsewhere",
            ));
        }
        let aside = aside(&end);
        if std::fs::symlink_metadata(&aside).is_ok_and(|there| !there.is_dir()) {
            return Err(Error::file(&aside, "is in the way; remove it, or choose another place"));
        }
        let failed = |error: io::Error| refused(path, &error);
        restore(&end).map_err(failed)?;
        make_all(&aside).map_err(failed)?;
        let lock = match lock(&aside) {
            Lock::Taken => return Err(taken(path)),
            Lock::Held(file) => Some(file),
            Lock::Unknown => None,
        };
        let new = Self { path: path.to_path_buf(), aside, end, _lock: lock, finished: false };
        operation::empty(&new.aside).map_err(failed)?;
        Ok(new)
    }

    /// Where it is made.
    pub fn aside(&self) -> &Path {
        &self.aside
    }

    /// Writes the file `name` of the folder.
    ///
    /// # Errors
    /// When the disk is full or the folder cannot be written.
    pub fn write(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        let aside = self.aside.join(name);
        let write = || {
            let file = operation::open(&aside, OpenOptions::new().write(true).create_new(true))?;
            operation::write(&aside, &file, bytes)?;
            operation::sync(&aside, &file)
        };
        write().map_err(|error| refused(&self.path.join(name), &error))
    }

    /// Flushes the folder's names to the disk and gives it its own.
    ///
    /// # Errors
    /// When the file system refuses; what had the name stays.
    pub fn finish(mut self) -> Result<()> {
        self.place().map_err(|error| refused(&self.path, &error))?;
        self.finished = true;
        // From here on the new one stands: that of the old one something is left is no failure.
        let _ = operation::remove_all(&self.aside);
        let _ = operation::remove_all(&old(&self.end));
        Ok(())
    }

    fn place(&self) -> io::Result<()> {
        operation::sync_folder(&self.aside)?;
        match std::fs::metadata(&self.end) {
            Err(_) => operation::rename(&self.aside, &self.end)?,
            Ok(there) => {
                std::fs::set_permissions(&self.aside, there.permissions())?;
                if !operation::exchange(&self.aside, &self.end)? {
                    let old = old(&self.end);
                    operation::remove_all(&old)?;
                    operation::rename(&self.end, &old)?;
                    // A process that ends here leaves the old one, which `standing` finds and `clean` puts back.
                    if let Err(error) = operation::rename(&self.aside, &self.end) {
                        operation::rename(&old, &self.end)?;
                        return Err(error);
                    }
                }
            }
        }
        operation::sync_folder(parent(&self.end))
    }
}

impl Drop for NewFolder {
    /// What was written of an unfinished folder is of no use and takes room.
    fn drop(&mut self) {
        if !self.finished {
            let _ = operation::remove_all(&self.aside);
        }
    }
}

/// Makes a folder and those that hold it, where there are none.
///
/// # Errors
/// When a part of `path` is a file or cannot be written.
pub fn make_folder(path: &Path) -> Result<()> {
    let end = end_of(path)?;
    make_all(&end).map_err(|error| refused(path, &error))
}

/// Removes a folder with all that it holds, if it is there. A process that is killed meanwhile leaves no part of it
/// under its name.
///
/// # Errors
/// When the file system refuses.
pub fn remove_folder(path: &Path) -> Result<()> {
    let removed = || {
        if std::fs::symlink_metadata(path).is_err() {
            return Ok(());
        }
        operation::remove_all(&old(path))?;
        let aside = aside(path);
        operation::remove_all(&aside)?;
        operation::rename(path, &aside)?;
        operation::remove_all(&aside)
    };
    removed().map_err(|error| kept(path, &error))
}

/// Removes a folder in which nothing is; any other stays.
pub(crate) fn remove_if_empty(path: &Path) {
    let _ = operation::remove_empty(path);
}

/// Removes a file, if it is there.
///
/// # Errors
/// When the file system refuses.
pub fn remove_file(path: &Path) -> Result<()> {
    match operation::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(kept(path, &error)),
        _ => Ok(()),
    }
}

/// Removes what a killed process left of the file or folder `path`, and puts an old folder back that it had moved. What
/// another process is writing stays.
///
/// # Errors
/// When the file system refuses.
pub fn clean(path: &Path) -> Result<()> {
    let clean = || {
        restore(path)?;
        operation::remove_all(&old(path))?;
        let aside = aside(path);
        match std::fs::symlink_metadata(&aside) {
            Ok(there) if there.is_file() || there.is_dir() => match lock(&aside) {
                Lock::Taken => Ok(()),
                Lock::Held(_) | Lock::Unknown => operation::remove_all(&aside),
            },
            _ => Ok(()),
        }
    };
    clean().map_err(|error| kept(path, &error))
}

/// The folder `path`, or the old one if a process was killed just when the new one was to take its name.
pub fn standing(path: &Path) -> PathBuf {
    let old = old(path);
    if !path.exists() && old.is_dir() { old } else { path.to_path_buf() }
}

/// Puts an old folder back whose place is empty.
fn restore(path: &Path) -> io::Result<()> {
    let old = old(path);
    if std::fs::symlink_metadata(path).is_err() && old.is_dir() {
        operation::rename(&old, path)?;
    }
    Ok(())
}

/// The folder that `path` names at the end of its links, if it is one or nothing.
fn end_of(path: &Path) -> Result<PathBuf> {
    let end = match resolve(path).map_err(|error| refused(path, &error))? {
        Place::Nothing(end) | Place::Folder(end) => end,
        Place::File(_) => return Err(Error::file(path, "is a file; give the name of a folder")),
        Place::Stream(_) => return Err(Error::file(path, "is a device or pipe; give the name of a folder")),
        Place::Other(what) => return Err(Error::file(path, format!("is {what}; give the name of a folder"))),
    };
    match end.file_name() {
        Some(_) => Ok(end),
        None => Err(Error::file(path, "cannot be replaced; give the name of a folder")),
    }
}

/// Makes the folders that hold `path`.
pub(super) fn make_parents(path: &Path) -> io::Result<()> {
    make_all(parent(path))
}

fn make_all(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    make_parents(folder)?;
    match operation::make_folder(folder) {
        // Another process was faster.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => Ok(()),
        made => made,
    }
}

/// Whether a file or folder is this process's alone.
enum Lock {
    Held(File),
    Taken,
    /// The file system has no locks.
    Unknown,
}

fn lock(path: &Path) -> Lock {
    let Ok(file) = File::open(path) else { return Lock::Unknown };
    match try_lock(&file) {
        Err(std::fs::TryLockError::WouldBlock) => Lock::Taken,
        Err(std::fs::TryLockError::Error(_)) => Lock::Unknown,
        Ok(()) if is_named(&file, path) => Lock::Held(file),
        // Another process has finished it, and may begin the next.
        Ok(()) => Lock::Taken,
    }
}
