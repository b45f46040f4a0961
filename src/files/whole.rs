//! Atomic creation of files.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::folder::make_parents;
use super::operation;
use super::place::{Place, aside, parent, resolve};
use super::refusal::{refused, taken};
use crate::error::{Error, Result};

/// Writes a file whole. Its folder is made where there is none.
///
/// # Errors
/// When the disk is full, `path` cannot be written or another process writes it; what was there stays.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = NewFile::create(path)?;
    file.write_all(bytes).map_err(|error| refused(path, &error))?;
    file.finish()
}

/// A file under way, which takes its name, and the place of what had it, in [`finish`](Self::finish). Dropped before,
/// it leaves nothing.
#[derive(Debug)]
pub struct NewFile {
    file: File,
    /// The final name.
    path: PathBuf,
    /// Where it is made and what it becomes; `None` where every byte goes through to a device or pipe.
    names: Option<(PathBuf, PathBuf)>,
}

impl NewFile {
    /// Begins the file `path`. Its folder is made where there is none.
    ///
    /// # Errors
    /// When it is a folder or a disk, cannot be written, or another process writes it.
    pub fn create(path: &Path) -> Result<Self> {
        Self::create_or(path, |stream| open_stream(stream).map_err(|error| refused(path, &error)))
    }

    /// As [`NewFile::create`], of a file in which places are written again: a device or pipe is refused at once.
    ///
    /// # Errors
    /// As [`NewFile::create`], and when it is a device or pipe.
    pub fn create_seekable(path: &Path) -> Result<Self> {
        let message = "is a device or pipe, but the table at the file's beginning is written last; give the name of a file";
        Self::create_or(path, |_| Err(Error::file(path, message)))
    }

    fn create_or(path: &Path, open_stream: impl Fn(&Path) -> Result<File>) -> Result<Self> {
        let end = match resolve(path).map_err(|error| refused(path, &error))? {
            Place::Nothing(end) | Place::File(end) => end,
            Place::Folder(_) => return Err(Error::file(path, "is a folder; give the name of a file")),
            Place::Stream(stream) => {
                return Ok(Self { file: open_stream(&stream)?, path: path.to_path_buf(), names: None });
            }
            Place::Other(what) => {
                return Err(Error::file(path, format!("is {what}; give the name of a file")));
            }
        };
        if end.file_name().is_none() {
            return Err(Error::file(path, "names no file; give the name of one"));
        }
        make_parents(&end).map_err(|error| refused(path, &error))?;
        let aside = aside(&end);
        if std::fs::symlink_metadata(&aside).is_ok_and(|there| !there.is_file()) {
            return Err(Error::file(&aside, "is in the way; remove it, or choose another place"));
        }
        let file = open_alone(&aside).map_err(|error| refused(path, &error))?.ok_or_else(|| taken(path))?;
        let new = Self { file, path: path.to_path_buf(), names: Some((aside, end)) };
        new.begin().map_err(|error| refused(path, &error))?;
        Ok(new)
    }

    /// Drops what a killed process left. Who may not read the old file reads the new one at no moment.
    fn begin(&self) -> io::Result<()> {
        let Some((aside, end)) = &self.names else { return Ok(()) };
        if self.file.metadata()?.len() > 0 {
            operation::truncate(aside, &self.file, 0)?;
        }
        match std::fs::metadata(end) {
            Ok(old) if !old.permissions().readonly() => self.file.set_permissions(old.permissions()),
            _ => Ok(()),
        }
    }

    /// Flushes the file to the disk and gives it its name.
    ///
    /// # Errors
    /// When the disk is full or the name cannot be had.
    pub fn finish(mut self) -> Result<()> {
        let Some((aside, end)) = self.names.clone() else { return Ok(()) };
        let mut place = || {
            if let Ok(old) = std::fs::metadata(&end) {
                self.file.set_permissions(old.permissions())?;
            }
            operation::sync(&aside, &self.file)?;
            operation::rename(&aside, &end)?;
            // There is nothing aside any more.
            self.names = None;
            operation::sync_folder(parent(&end))
        };
        place().map_err(|error| refused(&self.path, &error))
    }
}

impl Write for NewFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let name = self.names.as_ref().map_or(&self.path, |(aside, _)| aside);
        operation::write(name, &self.file, bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for NewFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}

impl Drop for NewFile {
    /// What was written of an unfinished file is of no use and takes room.
    fn drop(&mut self) {
        if let Some((aside, _)) = &self.names {
            let _ = operation::remove_file(aside);
        }
    }
}

/// Opens a file to be written by this process alone; `None` where another one does.
fn open_alone(path: &Path) -> io::Result<Option<File>> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false);
    // What another process has just finished has another name by now: then this is opened anew.
    for _ in 0..100 {
        let file = operation::open(path, &options)?;
        match try_lock(&file) {
            Err(std::fs::TryLockError::WouldBlock) => return Ok(None),
            // A file system without locks is written without.
            Err(std::fs::TryLockError::Error(_)) => return Ok(Some(file)),
            Ok(()) if is_named(&file, path) => return Ok(Some(file)),
            Ok(()) => {}
        }
    }
    Ok(None)
}

/// Locks the file, if nobody has it for longer than a moment: a process that is being started has its parent's locks.
pub(super) fn try_lock(file: &File) -> Result<(), std::fs::TryLockError> {
    const MOMENT: Duration = Duration::from_millis(500);
    let begun = web_time::Instant::now();
    loop {
        match file.try_lock() {
            Err(std::fs::TryLockError::WouldBlock) if begun.elapsed() < MOMENT => {
                std::thread::sleep(Duration::from_millis(5));
            }
            tried => return tried,
        }
    }
}

/// Whether the open `file` is the one that `path` names.
#[cfg(unix)]
pub(super) fn is_named(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let open = file.metadata().map(|open| (open.dev(), open.ino()));
    let named = std::fs::symlink_metadata(path).map(|named| (named.dev(), named.ino()));
    matches!((open, named), (Ok(open), Ok(named)) if open == named)
}

#[cfg(not(unix))]
pub(super) fn is_named(_: &File, _: &Path) -> bool {
    true
}

/// How long a pipe's reader is waited for.
#[cfg(unix)]
const READER: Duration = Duration::from_secs(10);

/// Opens a device or pipe as it is.
fn open_stream(path: &Path) -> io::Result<File> {
    // Opening a pipe that nobody reads would wait for ever. The pipe stays open until it is opened again, or its reader
    // would see its end in between.
    #[cfg(unix)]
    let _probe = {
        use rustix::fs::{CWD, Mode, OFlags, openat};
        use rustix::io::Errno;
        let begun = web_time::Instant::now();
        loop {
            match openat(CWD, path, OFlags::WRONLY | OFlags::NONBLOCK, Mode::empty()) {
                Err(Errno::NXIO) if begun.elapsed() > READER => {
                    return Err(io::Error::new(io::ErrorKind::BrokenPipe, "nobody reads it"));
                }
                Err(Errno::NXIO) => std::thread::sleep(Duration::from_millis(20)),
                opened => break opened,
            }
        }
    };
    operation::open(path, OpenOptions::new().append(true))
}
