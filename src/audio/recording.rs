//! Where a recording's samples are: a file or a part of one, and which of its channels.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use web_time::Instant;

use super::decode::{self, Audio};
use crate::error::{Error, Result};

/// A recording: its bytes, the part that counts, and the channel.
#[derive(Debug, Clone, PartialEq)]
pub struct Recording {
    /// Where the encoded bytes are.
    pub place: Place,
    /// The part of the audio that counts; `None`: all of it.
    pub span: Option<Span>,
    /// The channel of a file with several.
    pub channel: Channel,
}

/// Where encoded audio is stored.
#[derive(Debug, Clone, PartialEq)]
pub enum Place {
    /// A file of its own.
    File(PathBuf),
    /// A stored, uncompressed member of an archive.
    Member {
        /// The archive file, which its members share.
        archive: Arc<Path>,
        /// The member's name in it.
        name: String,
        /// The member's first byte in the archive.
        start: u64,
        /// The member's length in bytes.
        bytes: u64,
    },
    /// Standard input, which can be read once.
    Stdin,
    /// Bytes in memory: a column of a table.
    Memory {
        /// Its name in messages.
        name: String,
        /// The encoded bytes.
        bytes: Arc<[u8]>,
    },
}

/// A part of a recording, in seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Span {
    /// Seconds from the beginning of the audio.
    pub start: f64,
    /// Length in seconds; `None`: to the end.
    pub seconds: Option<f64>,
}

/// What a file with several channels gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Channel {
    /// The mean of all channels.
    #[default]
    Mix,
    /// One channel, numbered from 1.
    Only(usize),
}

impl Recording {
    /// The whole of a file, its channels averaged.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self { place: Place::File(path.into()), span: None, channel: Channel::Mix }
    }

    /// Standard input, its channels averaged.
    pub fn stdin() -> Self {
        Self { place: Place::Stdin, span: None, channel: Channel::Mix }
    }

    /// The name under which the samples are stored: of the file, or of the archive's member.
    pub fn stored_name(&self) -> Cow<'_, str> {
        match &self.place {
            Place::File(path) => path.to_string_lossy(),
            Place::Member { name, .. } | Place::Memory { name, .. } => Cow::Borrowed(name),
            Place::Stdin => Cow::Borrowed("stdin"),
        }
    }

    /// The file or archive that holds the samples; `None` for standard input and bytes in memory.
    pub fn path(&self) -> Option<&Path> {
        match &self.place {
            Place::File(path) => Some(path),
            Place::Member { archive, .. } => Some(archive),
            Place::Stdin | Place::Memory { .. } => None,
        }
    }

    /// Reads the recording as 16 kHz mono. What is doubtful about it is a warning, once in a process.
    ///
    /// # Errors
    /// As for [`read`](decode::read).
    pub fn read(&self) -> Result<Audio> {
        let begun = Instant::now();
        let audio = decode::read_recording(self)?;
        tracing::debug!(
            "read {self}: {:.2} s, channels: {}, {} Hz, in {:.1} ms",
            audio.seconds(),
            audio.channels,
            audio.source_rate,
            begun.elapsed().as_secs_f64() * 1e3
        );
        self.warn(&audio.notes);
        Ok(audio)
    }

    /// Reads the recording as 16 kHz mono piece by piece, in a thread of its own: however long it is, a few pieces are in
    /// memory. An error is the last item. Together the pieces are the samples of [`Recording::read`].
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn pieces(&self) -> Result<Pieces> {
        let (sender, pieces) = sync_channel(PIECES);
        let recording = self.clone();
        let work = move || {
            // Nobody waits for what comes after an error.
            match decode::read_pieces(&recording, |piece| sender.send(Ok(piece)).is_ok()) {
                Ok(notes) => recording.warn(&notes),
                Err(error) => drop(sender.send(Err(error))),
            }
        };
        let thread = std::thread::Builder::new().name("audio".to_owned()).spawn(work);
        thread.map_err(|error| Error::invalid(format!("no thread can be started: {error}")))?;
        Ok(Pieces { pieces })
    }

    /// Says what is doubtful, once in a process.
    fn warn(&self, notes: &[String]) {
        static SAID: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
        for note in notes {
            let line = format!("{self}: {note}");
            if SAID.lock().unwrap_or_else(PoisonError::into_inner).insert(line.clone()) {
                tracing::warn!("{line}");
            }
        }
    }

    /// The number of the bytes that are stored, of which this may be a part, and the bytes.
    ///
    /// # Errors
    /// When they cannot be opened.
    pub(crate) fn stored(&self) -> Result<(u64, impl Read)> {
        decode::stored(self)
    }

    /// The duration in seconds, from the header where it is exact, else by decoding.
    ///
    /// # Errors
    /// As for [`Recording::read`], as far as the header shows it.
    pub fn duration(&self) -> Result<f64> {
        decode::duration_of(self)
    }
}

/// Pieces that wait for their reader.
const PIECES: usize = 8;

/// A recording piece by piece: [`Recording::pieces`].
#[derive(Debug)]
pub struct Pieces {
    pieces: Receiver<Result<Vec<f32>>>,
}

impl Iterator for Pieces {
    type Item = Result<Vec<f32>>;

    fn next(&mut self) -> Option<Self::Item> {
        self.pieces.recv().ok()
    }
}

/// The name that messages and results give to the recording.
impl fmt::Display for Recording {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::File(path) => write!(f, "{}", path.display())?,
            Place::Member { archive, name, .. } => write!(f, "{}/{name}", archive.display())?,
            Place::Stdin => f.write_str("standard input")?,
            Place::Memory { name, .. } => f.write_str(name)?,
        }
        match self.span {
            None => {}
            Some(Span { start, seconds: None }) => write!(f, " from {start} s")?,
            Some(Span { start, seconds: Some(seconds) }) => {
                write!(f, " from {start} to {} s", start + seconds)?
            }
        }
        match self.channel {
            Channel::Mix => Ok(()),
            Channel::Only(channel) => write!(f, " channel {channel}"),
        }
    }
}
