//! Atomic writes, and reading of files.
//!
//! Everything that is written goes through this module. A file or folder is first written under its name with `.polymix-partial`
//! at the end, flushed to the disk and put in its place by one rename, so that a process that is killed at any moment
//! leaves the old or the new one, whole. What it leaves aside is taken over by the next one that writes there, or
//! removed by [`clean`].
//!
//! Links are followed: what they point to is written, and they stay. Devices and pipes are written through.
//!
//! Input files are opened here as well, for one reason: errors of the system are reported with their remedy.

mod claim;
mod folder;
mod log;
mod operation;
mod place;
mod read;
mod refusal;
#[cfg(test)]
mod tests;
mod whole;

pub(crate) use claim::{Claim, Owner};
pub(crate) use folder::remove_if_empty;
pub use folder::{NewFolder, clean, make_folder, remove_file, remove_folder, standing};
pub use log::Log;
#[doc(hidden)]
pub use operation::{Fault, Operation, inject};
pub(crate) use read::{about, entries, is_file, open, opened, read, read_text};
pub(crate) use refusal::{not_read, refused, unreadable};
pub use whole::{NewFile, write_whole};
