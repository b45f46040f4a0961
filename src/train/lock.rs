//! One owner a run: `RUN/lock`, held as long as the process lives.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::files::{make_folder, refused};

/// The right to write into a run's folder. The system takes the lock back when the process ends, however it does, so
/// that a file that is left over holds nobody up.
#[derive(Debug)]
pub(super) struct RunLock {
    /// Keeps the lock.
    _file: File,
    path: PathBuf,
    folder: PathBuf,
}

impl RunLock {
    /// Takes the folder `run`, which is made where it is absent.
    ///
    /// # Errors
    /// When another process has it, which is named, or the folder cannot be written.
    pub fn take(run: &Path) -> Result<Self> {
        make_folder(run)?;
        let path = run.join("lock");
        let failed = |error: std::io::Error| refused(&path, &error);
        loop {
            let mut file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(&path)
                .map_err(failed)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Err(taken(run, &mut file)),
                Err(TryLockError::Error(error)) => {
                    tracing::warn!(
                        "{}: this file system keeps no locks ({error}); see that no other process uses the run",
                        path.display()
                    );
                }
            }
            // Its last owner may have removed it since it was opened.
            if !same_file(&file, &path) {
                continue;
            }
            let owner = format!("{} {}\n", std::process::id(), host());
            file.set_len(0)
                .and_then(|()| file.rewind())
                .and_then(|()| file.write_all(owner.as_bytes()))
                .map_err(failed)?;
            return Ok(Self { _file: file, path, folder: run.to_path_buf() });
        }
    }
}

impl Drop for RunLock {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
        // A folder in which nothing was written leaves with it; others are not empty.
        let _ = std::fs::remove_dir(&self.folder);
    }
}

fn taken(run: &Path, file: &mut File) -> Error {
    let mut owner = String::new();
    let _ = file.take(300).read_to_string(&mut owner);
    let message = match owner.trim().split_once(' ') {
        Some((process, host)) => format!("is in use by process {process} on {host}"),
        None => "is in use by another process".to_owned(),
    };
    Error::file(run, format!("{message}; wait for its end or stop it, or give another --out"))
}

fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let name = name.or_else(|| std::env::var("HOSTNAME").or_else(|_| std::env::var("COMPUTERNAME")).ok());
    name.map_or("this host".to_owned(), |name| name.trim().to_owned())
}

#[cfg(unix)]
fn same_file(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let at_path = std::fs::metadata(path);
    matches!((file.metadata(), at_path), (Ok(a), Ok(b)) if (a.dev(), a.ino()) == (b.dev(), b.ino()))
}

#[cfg(not(unix))]
fn same_file(_: &File, path: &Path) -> bool {
    path.exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_has_one_owner_and_a_lock_that_is_left_over_holds_nobody_up() {
        let folder = tempfile::tempdir().unwrap();
        let run = folder.path().join("a/run");
        let lock = RunLock::take(&run).unwrap();
        let error = RunLock::take(&run).unwrap_err().to_string();
        assert!(error.contains(&format!("process {} on ", std::process::id())), "{error}");
        drop(lock);
        assert!(!run.exists(), "an empty folder goes with its lock");
        std::fs::create_dir_all(&run).unwrap();
        std::fs::write(run.join("lock"), "1 elsewhere\n").unwrap();
        std::fs::write(run.join("recipe.toml"), "").unwrap();
        drop(RunLock::take(&run).unwrap());
        let left: Vec<_> = std::fs::read_dir(&run).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["recipe.toml"]);
    }
}
