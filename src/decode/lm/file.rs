//! Language models in files.

use std::io::{BufRead, BufReader, BufWriter, Read};
use std::path::Path;

use flate2::read::MultiGzDecoder;

use super::{Bytes, Counts, LanguageModel, stored};
use crate::error::{Error, Result};
use crate::files::{self, NewFile, not_read, refused, unreadable, write_whole};

/// Bytes that are read at once.
const BUFFER: usize = 1 << 18;
/// How a gzip file begins.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// Opens a text file, plain or gzip.
fn open(path: &Path) -> Result<Box<dyn BufRead>> {
    let mut file = BufReader::with_capacity(BUFFER, files::open(path)?);
    if file.fill_buf().map_err(|error| unreadable(path, &error))?.starts_with(&GZIP) {
        return Ok(Box::new(BufReader::with_capacity(BUFFER, MultiGzDecoder::new(file))));
    }
    Ok(Box::new(file))
}

impl LanguageModel {
    /// Opens a model of `polymix lm`, or an ARPA file, plain or gzip.
    ///
    /// # Errors
    /// When it is neither, or damaged; an ARPA file's line is named.
    pub fn open(path: &Path) -> Result<Self> {
        let cannot = |error| unreadable(path, &error);
        let file = files::open(path)?;
        let mut first = Vec::new();
        Read::take(&file, 8).read_to_end(&mut first).map_err(cannot)?;
        if stored::begins(&first) {
            // SAFETY: the bytes are only read, and every look-up is checked against their number, so that a file that
            // somebody changes meanwhile gives other numbers, as any file would. Models are written aside and renamed.
            let map = unsafe { memmap2::Mmap::map(&file) }.map_err(cannot)?;
            return Self::of(Bytes::Mapped(map)).map_err(|error| Error::file(path, error.to_string()));
        }
        Self::read_arpa(open(path)?, &path.display().to_string())
    }

    /// Writes the model to `path`: as ARPA where it ends in `.arpa`, in the stored form otherwise.
    ///
    /// # Errors
    /// When it cannot be written; what was there stays.
    pub fn save(&self, path: &Path) -> Result<()> {
        if path.extension().is_none_or(|extension| extension != "arpa") {
            return write_whole(path, self.bytes());
        }
        let mut file = BufWriter::with_capacity(BUFFER, NewFile::create(path)?);
        self.write_arpa(&mut file).map_err(|error| refused(path, &error))?;
        file.into_inner().map_err(|error| refused(path, error.error()))?.finish()
    }
}

impl Counts {
    /// Adds the lines of a text file, plain or gzip, as sentences.
    ///
    /// # Errors
    /// When it cannot be read, or a line is no text or holds a mark of language models.
    pub fn add_file(&mut self, path: &Path) -> Result<()> {
        let mut file = open(path)?;
        let mut line = String::new();
        for number in 1.. {
            line.clear();
            match file.read_line(&mut line) {
                Ok(0) => break,
                Ok(_) => self.add(&line).map_err(|error| Error::line(path, number, error.to_string()))?,
                Err(error) => return Err(Error::line(path, number, not_read(None, &error))),
            }
        }
        Ok(())
    }
}
