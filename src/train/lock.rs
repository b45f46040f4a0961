//! One owner a run: `RUN/lock`, locked as long as the process runs.

use std::path::{Path, PathBuf};

use crate::error::{Error, Remedy, Result};
use crate::files::{Claim, Owner, make_folder, remove_if_empty};

/// The right to write into a run's folder.
#[derive(Debug)]
pub(super) struct RunLock {
    claim: Option<Claim>,
    folder: PathBuf,
}

impl RunLock {
    /// Takes the folder `run`, which is made where it is absent.
    ///
    /// # Errors
    /// When another process has it, which is named, or the folder cannot be written.
    pub fn take(run: &Path) -> Result<Self> {
        make_folder(run)?;
        // Made first, so that a folder that was made for a lock that cannot be had goes again.
        let mut lock = Self { claim: None, folder: run.to_path_buf() };
        match Claim::take(&run.join("lock"), &format!("{} {}\n", std::process::id(), host()))? {
            Owner::Mine(claim) => lock.claim = Some(claim),
            Owner::Other(owner) => return Err(taken(run, &owner)),
        }
        Ok(lock)
    }
}

impl Drop for RunLock {
    fn drop(&mut self) {
        self.claim = None;
        // A folder in which nothing was written leaves with it.
        remove_if_empty(&self.folder);
    }
}

fn taken(run: &Path, owner: &str) -> Error {
    let message = match owner.trim().split_once(' ') {
        Some((process, host)) => format!("is in use by process {process} on {host}"),
        None => "is in use by another process".to_owned(),
    };
    Error::file(run, format!("{message}; wait for its end or stop it")).advise(Remedy::OtherFolder)
}

fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let name = name.or_else(|| std::env::var("HOSTNAME").or_else(|_| std::env::var("COMPUTERNAME")).ok());
    name.map_or("this host".to_owned(), |name| name.trim().to_owned())
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
