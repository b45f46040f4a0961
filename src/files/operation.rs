//! The file system's operations, one by one, so that tests can let any of them fail.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::OnceLock;

/// What is about to be done.
#[derive(Debug, Clone, Copy)]
pub enum Operation<'a> {
    /// A folder is made.
    MakeFolder(&'a Path),
    /// A file is opened to be written, and made where there is none.
    Open(&'a Path),
    /// Bytes are written to a file.
    Write(&'a Path, usize),
    /// A file is cut to a length.
    Truncate(&'a Path),
    /// A file or folder is flushed to the disk.
    Sync(&'a Path),
    /// A file or folder gets another name.
    Rename(&'a Path, &'a Path),
    /// Two folders change names.
    Exchange(&'a Path, &'a Path),
    /// A file is removed.
    RemoveFile(&'a Path),
    /// An empty folder is removed.
    RemoveFolder(&'a Path),
}

/// The replacement of an operation.
#[derive(Debug)]
pub enum Fault {
    /// It fails.
    Error(io::Error),
    /// Of a write, so many bytes arrive before it fails.
    Cut(usize, io::Error),
}

type Hook = dyn Fn(Operation<'_>) -> Option<Fault> + Send + Sync;

static HOOK: OnceLock<Box<Hook>> = OnceLock::new();

/// For tests: asks `hook` before every operation of this process. Only the first call counts.
pub fn inject(hook: impl Fn(Operation<'_>) -> Option<Fault> + Send + Sync + 'static) {
    let _ = HOOK.set(Box::new(hook));
}

fn fault(operation: Operation<'_>) -> Option<Fault> {
    HOOK.get().and_then(|hook| hook(operation))
}

fn ask(operation: Operation<'_>) -> io::Result<()> {
    match fault(operation) {
        Some(Fault::Error(error) | Fault::Cut(_, error)) => Err(error),
        None => Ok(()),
    }
}

pub(super) fn make_folder(path: &Path) -> io::Result<()> {
    ask(Operation::MakeFolder(path))?;
    std::fs::create_dir(path)
}

pub(super) fn open(path: &Path, options: &OpenOptions) -> io::Result<File> {
    ask(Operation::Open(path))?;
    options.open(path)
}

pub(super) fn write(path: &Path, mut file: &File, bytes: &[u8]) -> io::Result<()> {
    match fault(Operation::Write(path, bytes.len())) {
        None => file.write_all(bytes),
        Some(Fault::Error(error)) => Err(error),
        Some(Fault::Cut(length, error)) => {
            file.write_all(&bytes[..length.min(bytes.len())])?;
            Err(error)
        }
    }
}

pub(super) fn truncate(path: &Path, file: &File, length: u64) -> io::Result<()> {
    ask(Operation::Truncate(path))?;
    file.set_len(length)
}

pub(super) fn sync(path: &Path, file: &File) -> io::Result<()> {
    ask(Operation::Sync(path))?;
    file.sync_all()
}

/// Flushes the names in a folder to the disk, where the system can.
pub(super) fn sync_folder(path: &Path) -> io::Result<()> {
    ask(Operation::Sync(path))?;
    if cfg!(not(unix)) {
        return Ok(());
    }
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    match File::open(path).and_then(|folder| folder.sync_all()) {
        // Some file systems do not know it, and a folder may be written without the right to read it.
        Err(error)
            if [io::ErrorKind::InvalidInput, io::ErrorKind::PermissionDenied].contains(&error.kind()) =>
        {
            Ok(())
        }
        done => done,
    }
}

pub(super) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    ask(Operation::Rename(from, to))?;
    std::fs::rename(from, to)
}

/// Lets two folders change names in one go; `false` where the file system cannot.
pub(super) fn exchange(a: &Path, b: &Path) -> io::Result<bool> {
    match fault(Operation::Exchange(a, b)) {
        // As where the file system cannot.
        Some(Fault::Error(error)) if error.kind() == io::ErrorKind::Unsupported => return Ok(false),
        Some(Fault::Error(error) | Fault::Cut(_, error)) => return Err(error),
        None => {}
    }
    #[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
    {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        use rustix::io::Errno;
        match renameat_with(CWD, a, CWD, b, RenameFlags::EXCHANGE) {
            Ok(()) => Ok(true),
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
    #[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
    Ok(false)
}

pub(super) fn remove_file(path: &Path) -> io::Result<()> {
    ask(Operation::RemoveFile(path))?;
    std::fs::remove_file(path)
}

/// Removes what `path` names with all that it holds, in the order of names; nothing where there is nothing. Links are
/// removed, not followed.
pub(super) fn remove_all(path: &Path) -> io::Result<()> {
    let kind = match std::fs::symlink_metadata(path) {
        Ok(metadata) => metadata.file_type(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !kind.is_dir() {
        return remove_file(path);
    }
    empty(path)?;
    remove_empty(path)
}

/// Removes an empty folder.
pub(super) fn remove_empty(path: &Path) -> io::Result<()> {
    ask(Operation::RemoveFolder(path))?;
    std::fs::remove_dir(path)
}

/// Removes all that a folder holds.
pub(super) fn empty(folder: &Path) -> io::Result<()> {
    let entries = std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path()));
    let mut entries = entries.collect::<io::Result<Vec<_>>>()?;
    entries.sort();
    entries.iter().try_for_each(|entry| remove_all(entry))
}
