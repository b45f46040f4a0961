//! Audio files, by their content: samples that lie in the file by readers of our own, FLAC, MP3, AAC, ALAC and
//! Vorbis by symphonia, Opus by ropus.

mod adts;
mod content;
mod flac;
mod guard;
mod live;
mod mp4;
mod mpeg;
mod ogg;
mod opus;
mod packets;
mod part;
mod pcm;
mod sink;

use std::io::Read;
use std::path::Path;

use super::features::SAMPLE_RATE;
use super::recording::{Channel, Recording};
use crate::error::{Error, Result};
use content::Kind;
use guard::guard;
use mp4::Edit;
use part::{Opened, Part, read_pipe};
use pcm::Payload;
use sink::Sink;

const LONGEST_SECONDS: f64 = 24.0 * 3600.0;
const RATES: std::ops::RangeInclusive<u32> = 1000..=768_000;
const FORMATS: &str = "WAV, AIFF, AU, SPHERE, CAF, FLAC, MP3, AAC, ALAC, OGG Vorbis, Opus, MP4 and WebM are read; \
                       convert it to WAV or FLAC, with ffmpeg for example";
const LIBRARIES: &str = "the decoding library (symphonia or ropus)";

/// Endings of the names of files that are read.
const ENDINGS: [&str; 34] = [
    "wav", "wave", "bwf", "rf64", "w64", "aif", "aiff", "aifc", "afc", "au", "snd", "caf", "sph", "sphere",
    "nist", "flac", "fla", "mp1", "mp2", "mp3", "mpga", "ogg", "oga", "opus", "m4a", "m4b", "mp4", "aac",
    "adts", "mka", "mkv", "webm", "3gp", "m4r",
];
/// Endings of the names of other audio.
const OTHER_ENDINGS: [&str; 25] = [
    "wma", "asf", "amr", "awb", "ape", "wv", "tta", "mpc", "shn", "dsf", "dff", "ra", "rm", "ac3", "eac3",
    "dts", "gsm", "voc", "mid", "midi", "vox", "raw", "pcm", "qcp", "spx",
];

/// The message of an error, before the name of its file is known: it goes on from that name.
type Outcome<T> = std::result::Result<T, String>;

/// A decoded file.
#[derive(Debug, Clone, PartialEq)]
pub struct Audio {
    /// 16 kHz, mono, nominally in [-1, 1].
    pub samples: Vec<f32>,
    /// Sample rate of the file, in Hz.
    pub source_rate: u32,
    /// Channels of the file.
    pub channels: usize,
    /// Warnings about the file, though it was read; each goes on from the file's name.
    pub notes: Vec<String>,
}

impl Audio {
    /// Duration in seconds.
    pub fn seconds(&self) -> f64 {
        self.samples.len() as f64 / f64::from(SAMPLE_RATE)
    }
}

/// Whether the file's name ends like that of an audio file that [`read`] understands.
pub fn is_audio_name(path: &Path) -> bool {
    ends_in(path, &ENDINGS)
}

/// Whether the file's name ends like that of any audio file, also of one that [`read`] does not understand.
pub fn looks_like_audio(path: &Path) -> bool {
    is_audio_name(path) || ends_in(path, &OTHER_ENDINGS)
}

fn ends_in(path: &Path, endings: &[&str]) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str());
    extension.is_some_and(|extension| endings.iter().any(|ending| extension.eq_ignore_ascii_case(ending)))
}

/// Reads an audio file as 16 kHz mono. The format is told by the content.
///
/// Integer samples of n bits are divided by 2^(n−1), channels averaged, other rates resampled to
/// round(n · 16000 / rate) samples.
///
/// # Errors
/// When the file is absent, empty, of another format, cut short, damaged, longer than 24 hours, holds no sample or
/// what cannot be a waveform, or when its channels cancel each other out.
pub fn read(path: impl AsRef<Path>) -> Result<Audio> {
    Recording::file(path.as_ref()).read()
}

/// The duration in seconds, from the header where it tells exactly, else by decoding.
///
/// # Errors
/// As for [`read`], as far as the header shows it.
pub fn duration(path: impl AsRef<Path>) -> Result<f64> {
    Recording::file(path.as_ref()).duration()
}

/// # Errors
/// As for [`read`].
pub(super) fn read_recording(recording: &Recording) -> Result<Audio> {
    let decode = || {
        let mut sink = Sink::new(recording.channel, recording.span);
        decode(Part::open(&recording.place, part::WHOLE)?, &mut sink, recording.span.is_none())?;
        sink.finish()
    };
    guard(LIBRARIES, decode).map_err(|message| Error::file(recording.to_string(), message))
}

/// Gives a recording away piece by piece, as it is decoded, until none is wanted; what is doubtful about it. A WAV whose
/// writer cannot know its length is decoded as a pipe brings it; of everything else, a pipe is read to its end first.
///
/// # Errors
/// As for [`read`]; what came before the error was given away.
pub(super) fn read_pieces(recording: &Recording, give: impl FnMut(Vec<f32>) -> bool) -> Result<Vec<String>> {
    let decode = || {
        let mut sink = Sink::giving(recording.channel, recording.span, give);
        let part = match Opened::of(&recording.place, part::WHOLE)? {
            Opened::Part(part) => part,
            Opened::Pipe(mut pipe) => match live::begin(&mut pipe)? {
                live::Beginning::Wave(pcm) => {
                    live::read(&pcm, &mut pipe, &mut sink)?;
                    return Ok(sink.finish()?.notes);
                }
                live::Beginning::Other(begun) => {
                    Part::memory(read_pipe(begun.as_slice().chain(pipe))?.into())
                }
            },
        };
        decode(part, &mut sink, recording.span.is_none())?;
        Ok(sink.finish()?.notes)
    };
    guard(LIBRARIES, decode).map_err(|message| Error::file(recording.to_string(), message))
}

/// # Errors
/// As for [`duration`].
pub(super) fn duration_of(recording: &Recording) -> Result<f64> {
    let seconds = || {
        let seconds = whole_duration(Part::open(&recording.place, part::HEADER)?)?;
        sink::check_length(seconds)?;
        let Some(span) = recording.span else { return Ok(seconds) };
        sink::check_span(span, seconds)?;
        Ok((seconds - span.start).min(span.seconds.unwrap_or(f64::INFINITY)))
    };
    guard(LIBRARIES, seconds).map_err(|message| Error::file(recording.to_string(), message))
}

/// The bytes of a recording as they are stored, and their number.
///
/// # Errors
/// When they cannot be opened.
pub(super) fn stored(recording: &Recording) -> Result<(u64, impl Read)> {
    let part = Part::open(&recording.place, part::WHOLE);
    let part = part.map_err(|message| Error::file(recording.to_string(), message))?;
    Ok((part.length(), part))
}

/// Decodes into the sink; `whole` where all of it is wanted, so that all of it is checked.
///
/// # Errors
/// The message.
fn decode(mut part: Part, sink: &mut Sink, whole: bool) -> Outcome<()> {
    let kind = content::tell(&mut part)?;
    match payload(&mut part, kind)? {
        Payload::Pcm(pcm) => pcm.read(&mut part, sink),
        Payload::Mpeg(start, end) => {
            part.narrow(start, end);
            mpeg::read(&mut part, Some(sink)).map(|_| ())
        }
        Payload::Packets(edit) => packets::read(&mut part, kind, edit, sink, whole),
    }
}

/// # Errors
/// The message.
fn whole_duration(mut part: Part) -> Outcome<f64> {
    let kind = content::tell(&mut part)?;
    let edit = match payload(&mut part, kind)? {
        Payload::Pcm(pcm) => return Ok(pcm.frames() as f64 / f64::from(pcm.rate)),
        Payload::Mpeg(start, end) => {
            part.narrow(start, end);
            return mpeg::read(&mut part, None);
        }
        Payload::Packets(edit) => edit,
    };
    if kind == Kind::Flac
        && let Some((frames, rate)) = flac::counted(&mut part)?
    {
        sink::check_rate(rate)?;
        return Ok(frames as f64 / f64::from(rate));
    }
    let mut sink = Sink::new(Channel::Only(1), None);
    packets::read(&mut part, kind, edit, &mut sink, true)?;
    Ok(sink.finish()?.seconds())
}

/// The contents of a container.
fn payload(part: &mut Part, kind: Kind) -> Outcome<Payload> {
    Ok(match kind {
        Kind::Wave => pcm::wave(part)?,
        Kind::Wave64 => pcm::wave64(part)?,
        Kind::Aiff => pcm::aiff(part)?,
        Kind::Au => pcm::au(part)?,
        Kind::Sphere => pcm::sphere(part)?,
        Kind::Caf => pcm::caf(part)?,
        Kind::Mpeg => Payload::Mpeg(0, part.length()),
        Kind::Mp4 => Payload::Packets(mp4::edit(part)?),
        Kind::Flac | Kind::Ogg | Kind::Matroska | Kind::Adts => Payload::Packets(Edit::default()),
    })
}

#[cfg(test)]
mod tests;
