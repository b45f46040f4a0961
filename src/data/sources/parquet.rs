//! Hugging Face: parquet tables with a column `audio` of bytes and paths, and one of texts.

#[cfg(feature = "parquet")]
mod pages;
#[cfg(feature = "parquet")]
mod table;

#[cfg(feature = "parquet")]
pub(super) use table::read;

/// Says how to have what is not built in.
///
/// # Errors
/// Always.
#[cfg(not(feature = "parquet"))]
pub(super) fn read(
    path: &std::path::Path,
    _bytes: Option<&[u8]>,
    _found: &mut super::Found,
) -> crate::error::Result<()> {
    let message = "is a parquet table, which this polymix is built without; build it with `--features parquet`, \
                   or save the audio as files";
    Err(crate::error::Error::file(path, message))
}
