//! The bytes of one recording, wherever they are.

use std::fs::File;
use std::io::{self, BufReader, Cursor, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;

use symphonia::core::io::MediaSource;

use super::Outcome;
use super::{content, mpeg};
use crate::audio::recording::Place;
use crate::files::not_read;

/// The most bytes that a pipe may bring; its audio is held in memory.
const MOST_PIPED: u64 = 4 << 30;
/// Bytes that are read ahead where all of a file is decoded, and where its header is.
pub(super) const WHOLE: usize = 64 << 10;
pub(super) const HEADER: usize = 4 << 10;
/// Of a pipe, this much is read before it is known to be audio.
const BEGINNING: u64 = 64 << 10;

pub(super) trait Bytes: Read + Seek + Send + Sync {}
impl<T: Read + Seek + Send + Sync> Bytes for T {}

/// A range of bytes that reads as if it were a file of its own.
pub(super) struct Part {
    inner: Box<dyn Bytes>,
    start: u64,
    length: u64,
    position: u64,
    /// Where `inner` stands, so that reading on does not seek.
    at: Option<u64>,
    /// Bytes that are given in place of those at an offset.
    patch: Option<(u64, Vec<u8>)>,
}

/// What a recording is made of.
pub(super) enum Opened {
    /// Bytes of a known number, in any order.
    Part(Part),
    /// Bytes as they come.
    Pipe(Box<dyn Read>),
}

impl Opened {
    /// Opens it; of a file, `ahead` bytes are read at a time.
    ///
    /// # Errors
    /// The message, when it is not there or not readable.
    pub fn of(place: &Place, ahead: usize) -> Outcome<Self> {
        let part = match place {
            Place::File(path) => {
                let file = open_file(path)?;
                let about = file.metadata().map_err(unreadable)?;
                if !about.is_file() {
                    return Ok(Self::Pipe(Box::new(file)));
                }
                Part::new(Box::new(BufReader::with_capacity(ahead, file)), 0, about.len())
            }
            Place::Member { archive, start, bytes, .. } => {
                let file = open_file(archive)?;
                let present = file.metadata().map_err(unreadable)?.len();
                if start.checked_add(*bytes).is_none_or(|end| end > present) {
                    return Err(
                        "is cut short: the archive ends before it does; fetch the archive again".into()
                    );
                }
                Part::new(Box::new(BufReader::with_capacity(ahead, file)), *start, *bytes)
            }
            Place::Stdin => return Ok(Self::Pipe(Box::new(io::stdin().lock()))),
            Place::Memory { bytes, .. } => Part::memory(bytes.clone()),
        };
        Ok(Self::Part(part))
    }
}

impl Part {
    /// Opens what a recording is made of, as [`Opened::of`] does; a pipe is read to its end.
    ///
    /// # Errors
    /// The message, when it is not there or not readable.
    pub fn open(place: &Place, ahead: usize) -> Outcome<Self> {
        match Opened::of(place, ahead)? {
            Opened::Part(part) => Ok(part),
            Opened::Pipe(pipe) => Ok(Self::memory(read_pipe(pipe)?.into())),
        }
    }

    pub fn memory(bytes: Arc<[u8]>) -> Self {
        let length = bytes.len() as u64;
        Self::new(Box::new(Cursor::new(bytes)), 0, length)
    }

    fn new(inner: Box<dyn Bytes>, start: u64, length: u64) -> Self {
        Self { inner, start, length, position: 0, at: None, patch: None }
    }

    pub fn length(&self) -> u64 {
        self.length
    }

    /// Only the bytes from `start` up to `end`; what lies behind the end is left away.
    pub fn narrow(&mut self, start: u64, end: u64) {
        let end = end.min(self.length).max(start.min(self.length));
        self.start += start.min(end);
        self.length = end - start.min(end);
        self.position = 0;
        if let Some((offset, _)) = &mut self.patch {
            *offset = offset.saturating_sub(start);
        }
    }

    /// First byte and length, as [`Part::set_range`] takes them.
    pub fn range(&self) -> (u64, u64) {
        (self.start, self.length)
    }

    pub fn set_range(&mut self, (start, length): (u64, u64)) {
        (self.start, self.length, self.position) = (start, length, 0);
    }

    /// Gives `bytes` in place of those from `offset` on.
    pub fn replace(&mut self, offset: u64, bytes: Vec<u8>) {
        self.patch = Some((offset, bytes));
    }

    /// Up to `count` bytes from `offset` on, fewer at the end.
    ///
    /// # Errors
    /// The message, when they cannot be read.
    pub fn peek(&mut self, offset: u64, count: usize) -> Outcome<Vec<u8>> {
        self.position = offset;
        let mut bytes = Vec::new();
        self.take(count as u64).read_to_end(&mut bytes).map_err(unreadable)?;
        Ok(bytes)
    }
}

/// # Errors
/// The message.
fn open_file(path: &Path) -> Outcome<File> {
    crate::files::opened(path).map_err(|error| not_read(Some(path), &error))
}

/// Reads a pipe to its end.
///
/// # Errors
/// The message, when it cannot be read, brings no audio, or does not end.
pub(in crate::audio) fn read_pipe(mut pipe: impl Read) -> Outcome<Vec<u8>> {
    let mut bytes = Vec::new();
    pipe.by_ref().take(BEGINNING).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 == BEGINNING {
        let mut beginning = Part::memory(bytes.as_slice().into());
        // A tag with pictures may be longer than what is looked at here.
        if mpeg::after_id3(&mut beginning, 0)? <= BEGINNING / 2 {
            content::tell(&mut beginning)?;
        }
        pipe.by_ref().take(MOST_PIPED - BEGINNING).read_to_end(&mut bytes).map_err(unreadable)?;
    }
    if bytes.len() as u64 == MOST_PIPED {
        return Err("brings more than 4 GiB through a pipe; give a file".into());
    }
    Ok(bytes)
}

pub(super) fn unreadable(error: io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => "is cut short; fetch it again".into(),
        _ => not_read(None, &error),
    }
}

impl Read for Part {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = self.length.saturating_sub(self.position).min(buffer.len() as u64) as usize;
        if wanted == 0 {
            return Ok(0);
        }
        let at = self.start + self.position;
        if self.at != Some(at) {
            // BufReader keeps what it holds where the way is short.
            match self.at {
                Some(now) => self.inner.seek_relative(at as i64 - now as i64)?,
                None => _ = self.inner.seek(SeekFrom::Start(at))?,
            }
        }
        self.at = None;
        let count = self.inner.read(&mut buffer[..wanted])?;
        if let Some((offset, bytes)) = &self.patch {
            for (index, byte) in buffer[..count].iter_mut().enumerate() {
                let patched = (self.position + index as u64).checked_sub(*offset);
                if let Some(patched) = patched.and_then(|index| bytes.get(index as usize)) {
                    *byte = *patched;
                }
            }
        }
        self.position += count as u64;
        self.at = Some(self.start + self.position);
        Ok(count)
    }
}

impl Seek for Part {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let to = match to {
            SeekFrom::Start(to) => Some(to),
            SeekFrom::End(by) => self.length.checked_add_signed(by),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
        };
        self.position = to.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

impl MediaSource for &mut Part {
    fn is_seekable(&self) -> bool {
        true
    }

    fn byte_len(&self) -> Option<u64> {
        Some(self.length)
    }
}
