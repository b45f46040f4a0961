//! Streaming writer of safetensors files.

use std::fmt::Write as _;
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::reader::LONGEST_HEADER;
use crate::error::{Error, Result};
use crate::files::{NewFile, refused};

/// More than an entry of the header has beside its name.
const ENTRY: u64 = 160;

/// Writes f32 matrices to a safetensors file, of which only one is in memory at a time.
///
/// The format begins with a table of all tensors. Room for it is left at the beginning and filled at the end; the file
/// has its name only then.
#[derive(Debug)]
pub struct TensorWriter {
    file: BufWriter<NewFile>,
    path: PathBuf,
    /// Bytes that are left for the table.
    room: u64,
    table: String,
    /// Bytes of the tensors so far.
    offset: u64,
}

impl TensorWriter {
    /// Begins the file `path`, which will hold the tensors `names`.
    ///
    /// # Errors
    /// When there are too many for one file, or it cannot be written.
    pub fn create<'a>(path: &Path, names: impl IntoIterator<Item = &'a str>) -> Result<Self> {
        // A character takes at most six in JSON.
        let room: u64 = names.into_iter().map(|name| ENTRY + 6 * name.len() as u64).sum();
        let room = (room + 2).next_multiple_of(8);
        if room > LONGEST_HEADER {
            return Err(Error::file(
                path,
                "would have more tensors than the format allows; write several files",
            ));
        }
        let file = NewFile::create_seekable(path)?;
        let mut writer = Self {
            file: BufWriter::new(file),
            path: path.to_path_buf(),
            room,
            table: String::new(),
            offset: 0,
        };
        writer.file.seek(SeekFrom::Start(8 + room)).map_err(|e| refused(path, &e))?;
        Ok(writer)
    }

    /// Writes the next tensor, [rows, columns].
    ///
    /// # Errors
    /// When the number of values is not that of the shape, or the disk is full.
    pub fn write(&mut self, name: &str, [rows, columns]: [usize; 2], values: &[f32]) -> Result<()> {
        if values.len() != rows * columns {
            let message = format!("{name}: {} values for a shape of [{rows}, {columns}]", values.len());
            return Err(Error::invalid(message));
        }
        let start = self.offset;
        self.offset += 4 * values.len() as u64;
        let separator = if self.table.is_empty() { '{' } else { ',' };
        let name = serde_json::Value::from(name);
        let _ = write!(
            self.table,
            "{separator}{name}:{{\"dtype\":\"F32\",\"shape\":[{rows},{columns}],\"data_offsets\":[{start},{}]}}",
            self.offset
        );
        let little_endian: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.file.write_all(&little_endian).map_err(|e| refused(&self.path, &e))
    }

    /// Writes the table and gives the file its name.
    ///
    /// # Errors
    /// When more was written than was said at first, or the disk is full.
    pub fn finish(mut self) -> Result<()> {
        if self.table.is_empty() {
            self.table.push('{');
        }
        self.table.push('}');
        let spaces = self.room.checked_sub(self.table.len() as u64).ok_or_else(|| {
            Error::file(&self.path, "got tensors that were not announced; announce all of them")
        })?;
        let mut end = || {
            self.file.seek(SeekFrom::Start(0))?;
            self.file.write_all(&self.room.to_le_bytes())?;
            self.file.write_all(self.table.as_bytes())?;
            self.file.write_all(&vec![b' '; spaces as usize])?;
            self.file.flush()
        };
        end().map_err(|e| refused(&self.path, &e))?;
        let file = self.file.into_inner().map_err(|e| refused(&self.path, e.error()))?;
        file.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::Weights;

    #[test]
    fn files_read_back_and_unfinished_ones_leave_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.safetensors");
        let names = ["a \"quoted\"\n\u{1}.features", "empty", "last"];
        let tensors: [([usize; 2], &[f32]); 3] =
            [([2, 3], &[1.0, -2.5, 3.0, f32::MIN_POSITIVE, 0.0, 1e30]), ([0, 4], &[]), ([1, 1], &[7.0])];
        let mut writer = TensorWriter::create(&path, names).unwrap();
        for (name, (dims, values)) in names.iter().zip(tensors) {
            writer.write(name, dims, values).unwrap();
        }
        assert!(writer.write("wrong", [2, 2], &[1.0]).is_err());
        assert!(!path.exists());
        writer.finish().unwrap();
        let read = Weights::parse(&std::fs::read(&path).unwrap()).unwrap();
        assert_eq!(read.len(), names.len());
        for (name, (dims, values)) in names.iter().zip(tensors) {
            let (shape, found) = read.get(name).unwrap();
            assert_eq!((shape.dims(), found), (&dims[..], values));
        }

        std::fs::remove_file(&path).unwrap();
        TensorWriter::create(&path, []).unwrap().finish().unwrap();
        assert!(Weights::parse(&std::fs::read(&path).unwrap()).unwrap().is_empty());
        std::fs::remove_file(&path).unwrap();
        let mut writer = TensorWriter::create(&path, ["a"]).unwrap();
        writer.write("a", [1, 1], &[1.0]).unwrap();
        drop(writer);
        let mut writer = TensorWriter::create(&path, ["a"]).unwrap();
        for _ in 0..9 {
            writer.write("a", [1, 1], &[1.0]).unwrap();
        }
        assert!(writer.finish().is_err());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        std::fs::write(&path, "no folder").unwrap();
        assert!(TensorWriter::create(&path.join("a"), ["a"]).is_err());
    }
}
