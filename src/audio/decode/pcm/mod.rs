//! Samples that lie in a file one after the other: WAV, AIFF, AU, SPHERE, CAF.

mod adpcm;
mod aiff;
mod au;
mod caf;
mod coding;
mod sphere;
mod wave;

use std::io::{Read, Seek, SeekFrom};

pub(super) use aiff::parse as aiff;
pub(super) use au::parse as au;
pub(super) use caf::parse as caf;
pub(super) use coding::Coding;
pub(super) use sphere::parse as sphere;
pub(super) use wave::{parse as wave, parse_64 as wave64};

use super::Outcome;
use super::mp4::Edit;
use super::part::{Part, unreadable};
use super::sink::{Sink, check_rate};

/// Bytes that are read at a time, about.
const BLOCK: u64 = 1 << 16;
/// The contents of a container.
pub(super) enum Payload {
    Pcm(Pcm),
    /// MPEG frames, from one byte up to another.
    Mpeg(u64, u64),
    /// A library's, and the part of them that counts.
    Packets(Edit),
}

/// Where the samples are and what they look like.
#[derive(Debug)]
pub(super) struct Pcm {
    pub rate: u32,
    pub channels: usize,
    pub coding: Coding,
    /// First byte and length of each stretch.
    pub ranges: Vec<(u64, u64)>,
    /// The most frames that count, where the container tells.
    pub limit: Option<u64>,
    /// Frames before the first one that counts.
    pub skip: u64,
    pub notes: Vec<String>,
}

impl Pcm {
    fn new(rate: u32, channels: usize, coding: Coding, ranges: Vec<(u64, u64)>) -> Outcome<Self> {
        check_rate(rate)?;
        if channels == 0 {
            return Err("has no channels; export it again".into());
        }
        Ok(Self { rate, channels, coding, ranges, limit: None, skip: 0, notes: Vec::new() })
    }

    /// Frames of a stretch of `bytes` bytes.
    fn frames_of(&self, bytes: u64) -> u64 {
        let (unit, frames) = self.coding.unit(self.channels);
        bytes / unit * frames + self.coding.partial(bytes % unit, self.channels)
    }

    /// Frames that count.
    pub fn frames(&self) -> u64 {
        let present: u64 = self.ranges.iter().map(|&(_, bytes)| self.frames_of(bytes)).sum();
        present.saturating_sub(self.skip).min(self.limit.unwrap_or(u64::MAX))
    }

    /// Decodes the segment of the sink, beginning at the unit that holds its first frame.
    ///
    /// # Errors
    /// The message.
    pub fn read(self, part: &mut Part, sink: &mut Sink) -> Outcome<()> {
        sink.begin(self.rate, self.channels)?;
        self.notes.iter().for_each(|note| sink.note(note));
        let (unit, per_unit) = self.coding.unit(self.channels);
        let total = self.frames() + self.skip;
        let wanted = (sink.wanted() + self.skip).min(total);
        let mut first = 0;
        let mut waveform = Vec::new();
        let mut bytes = Vec::new();
        // Frames are numbered with those that are skipped; the sink knows only the others.
        let skip = |number: u64, waveform: &mut Vec<f32>, sink: &mut Sink| {
            let early = self.skip.saturating_sub(number).min((waveform.len() / self.channels) as u64);
            waveform.drain(..early as usize * self.channels);
            sink.jump((number + early).saturating_sub(self.skip));
        };
        sink.jump(total - self.skip);
        for &(start, length) in &self.ranges {
            let frames = self.frames_of(length);
            if wanted >= first + frames {
                first += frames;
                continue;
            }
            let units = wanted.saturating_sub(first) / per_unit;
            let (mut number, mut left) = (first + units * per_unit, length - units * unit);
            part.seek(SeekFrom::Start(start + units * unit)).map_err(unreadable)?;
            while left > 0 && number < total {
                let count = left.min((BLOCK / unit).max(1) * unit);
                bytes.clear();
                part.take(count).read_to_end(&mut bytes).map_err(unreadable)?;
                if (bytes.len() as u64) < count {
                    return Err("has become shorter while it was read; try again".into());
                }
                left -= count;
                waveform.clear();
                self.coding.decode(&bytes, self.channels, &mut waveform);
                let decoded = (waveform.len() / self.channels) as u64;
                waveform.truncate((total - number).min(decoded) as usize * self.channels);
                skip(number, &mut waveform, sink);
                if !sink.push(&waveform, self.coding.is_float())? {
                    return Ok(());
                }
                number += decoded;
            }
            first += frames;
        }
        Ok(())
    }
}

/// The length of samples that begin at `start`, given the size that a header declares; `open` says that the
/// writer could not know it.
///
/// # Errors
/// The message, when there is clearly less than was written.
fn extent(declared: u64, open: bool, start: u64, file: u64, bytes_a_second: f64) -> Outcome<u64> {
    let present = file.saturating_sub(start);
    if declared <= present {
        return Ok(declared);
    }
    if open {
        return Ok(present);
    }
    let seconds = |bytes: u64| bytes as f64 / bytes_a_second.max(1.0);
    Err(format!(
        "is cut short: its header says {:.2} s, it holds {:.2} s; fetch it again",
        seconds(declared),
        seconds(present)
    ))
}

/// Whether a 32-bit size is one that writers to pipes put where they do not know it.
pub(super) fn is_open(size: u32) -> bool {
    size >= 0xFFFF_0000 || (0x7FFF_0000..=0x8000_FFFF).contains(&size)
}

/// Numbers in the order that a file has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Little,
    Big,
}

impl Order {
    fn u16(self, bytes: &[u8], at: usize) -> u16 {
        let b = array(bytes, at);
        if self == Self::Big { u16::from_be_bytes(b) } else { u16::from_le_bytes(b) }
    }

    fn u32(self, bytes: &[u8], at: usize) -> u32 {
        let b = array(bytes, at);
        if self == Self::Big { u32::from_be_bytes(b) } else { u32::from_le_bytes(b) }
    }

    fn u64(self, bytes: &[u8], at: usize) -> u64 {
        let b = array(bytes, at);
        if self == Self::Big { u64::from_be_bytes(b) } else { u64::from_le_bytes(b) }
    }
}

/// Zeros where there are no more bytes.
fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    std::array::from_fn(|i| bytes.get(at + i).copied().unwrap_or(0))
}
