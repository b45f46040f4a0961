//! Lines of a text file, plain or gzip, one at a time.

use std::io::{BufRead, BufReader, Cursor, Read};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;

use super::Found;
use crate::error::{Error, Result};
use crate::files::{self, not_read, unreadable};

/// No line of a manifest is longer: what has longer ones is something else, and would fill the memory.
const LONGEST: usize = 16 << 20;
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// A text that is read line by line.
pub(crate) struct Lines<'a> {
    name: PathBuf,
    reader: Box<dyn BufRead + 'a>,
    buffer: Vec<u8>,
    line: usize,
}

impl Lines<'static> {
    /// Opens a file; what begins as gzip does is unpacked as it is read.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn open(path: &Path) -> Result<Self> {
        Self::new(path, BufReader::with_capacity(1 << 16, files::open(path)?))
    }
}

impl<'a> Lines<'a> {
    /// The lines of `bytes`, which `name` stands for in messages.
    ///
    /// # Errors
    /// As for [`Lines::open`].
    pub fn of_bytes(name: &Path, bytes: &'a [u8]) -> Result<Self> {
        Self::new(name, Cursor::new(bytes))
    }

    fn new(name: &Path, mut reader: impl BufRead + 'a) -> Result<Self> {
        let packed = reader.fill_buf().map_err(|error| unreadable(name, &error))?.starts_with(&GZIP);
        let reader: Box<dyn BufRead + 'a> = match packed {
            true => Box::new(BufReader::with_capacity(1 << 16, MultiGzDecoder::new(reader))),
            false => Box::new(reader),
        };
        Ok(Self { name: name.to_path_buf(), reader, buffer: Vec::new(), line: 0 })
    }

    /// The file, for messages.
    pub fn name(&self) -> &Path {
        &self.name
    }

    /// The next line with its number (from 1), without its end; no text where it is not UTF-8, which `found` keeps.
    ///
    /// # Errors
    /// When it cannot be read or is too long for a line, and when it is not UTF-8, unless `found` keeps errors.
    pub fn next(&mut self, found: &mut Found) -> Result<Option<(usize, Option<&str>)>> {
        self.buffer.clear();
        let mut limited = (&mut self.reader).take(LONGEST as u64);
        let read = limited.read_until(b'\n', &mut self.buffer);
        self.line += 1;
        let (name, line) = (&self.name, self.line);
        let read = read.map_err(|error| Error::line(name, line, not_read(None, &error)))?;
        if read == 0 {
            return Ok(None);
        }
        if self.buffer.len() == LONGEST {
            let message = format!(
                "is longer than {} MiB, and what follows is not read; this is no text with lines",
                LONGEST >> 20
            );
            return Err(Error::line(name, line, message));
        }
        if line == 1 && (self.buffer.starts_with(&[0xff, 0xfe]) || self.buffer.starts_with(&[0xfe, 0xff])) {
            return Err(Error::line(name, line, "is UTF-16; save the file as UTF-8"));
        }
        let mut bytes = self.buffer.as_slice();
        for end in [b"\n", b"\r"] {
            bytes = bytes.strip_suffix(end).unwrap_or(bytes);
        }
        if line == 1 {
            bytes = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
        }
        let text = std::str::from_utf8(bytes)
            .map_err(|_| Error::line(name, line, "is not UTF-8; save the file as UTF-8"));
        Ok(Some((line, found.keep(text)?)))
    }

    /// The next line that is a text and not blank.
    ///
    /// # Errors
    /// As for [`Lines::next`].
    pub fn next_filled(&mut self, found: &mut Found) -> Result<Option<(usize, &str)>> {
        loop {
            match self.next(found)? {
                None => return Ok(None),
                Some((_, Some(text))) if !text.trim().is_empty() => break,
                Some(_) => {}
            }
        }
        // Borrowed anew: the borrow of a loop's result would last through the loop.
        Ok(Some((self.line, self.last())))
    }

    /// The line that was read last.
    fn last(&self) -> &str {
        let text = std::str::from_utf8(&self.buffer).unwrap_or_default();
        let text = text.strip_suffix('\n').unwrap_or(text);
        let text = text.strip_suffix('\r').unwrap_or(text);
        if self.line == 1 { text.strip_prefix('\u{feff}').unwrap_or(text) } else { text }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        writer.write_all(bytes).expect("in memory");
        writer.finish().expect("in memory")
    }

    fn all(bytes: &[u8]) -> Result<Vec<(usize, String)>> {
        let mut lines = Lines::of_bytes(Path::new("m"), bytes)?;
        let mut found = Vec::new();
        while let Some((line, text)) = lines.next_filled(&mut Found::default())? {
            found.push((line, text.to_owned()));
        }
        Ok(found)
    }

    #[test]
    fn marks_ends_and_packing_are_taken_away() {
        let text = "\u{feff}one\r\n\n  \nfour\ntwo\rfive";
        let expected = vec![(1, "one".to_owned()), (4, "four".to_owned()), (5, "two\rfive".to_owned())];
        assert_eq!(all(text.as_bytes()).expect("text"), expected);
        assert_eq!(all(&gzip(text.as_bytes())).expect("gzip"), expected);
        // Two members, as `cat a.gz b.gz` makes them.
        assert_eq!(
            all(&[gzip(b"a\n"), gzip(b"b")].concat()).expect("gzip"),
            [(1, "a".into()), (2, "b".into())]
        );
        assert!(all(b"").expect("nothing").is_empty());
    }

    #[test]
    fn what_is_no_text_is_named_by_line() {
        let message = |bytes: &[u8]| all(bytes).expect_err("no text").to_string();
        assert!(message(b"a\nb\xff\n").contains("m:2: is not UTF-8"));
        assert!(message(b"\xff\xfea\0").contains("m:1: is UTF-16"));
        let packed = gzip(&[b'x'; 100]);
        assert!(message(&packed[..packed.len() - 9]).contains("m:1: cannot be read"));
        // The line ends at its limit, not at the end of the memory.
        let bomb = gzip(&vec![0; LONGEST + 1]);
        assert!(bomb.len() < LONGEST / 50);
        assert!(message(&bomb).contains("m:1: is longer than 16 MiB"));
    }
}
