//! Hugging Face: parquet tables with a column `audio` of bytes and paths, and one of texts.

use std::path::Path;

use super::Found;
use crate::error::{Error, Result};

#[cfg(not(feature = "parquet"))]
pub(super) fn read(path: &Path, _bytes: Option<&[u8]>, _found: &mut Found) -> Result<()> {
    let message = "is a parquet table, which this polymix is built without; build it with `--features parquet`, \
                   or save the audio as files";
    Err(Error::file(path, message))
}

#[cfg(feature = "parquet")]
pub(super) use table::read;

#[cfg(feature = "parquet")]
mod table;
