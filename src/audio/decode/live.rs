//! A WAV of unknown length, decoded as a pipe brings it: a microphone that is open.

use std::io::{ErrorKind, Read};

use super::Outcome;
use super::part::{Part, unreadable};
use super::pcm::{self, Payload, Pcm, is_open};
use super::sink::Sink;

/// Bytes before the samples, at most; a longer header is no live one.
const MOST_HEADER: usize = 1 << 16;
/// Bytes that are taken from the pipe at once, at most.
const BLOCK: usize = 1 << 14;

/// What a pipe brings.
pub(super) enum Beginning {
    /// Samples follow, up to the end of the pipe.
    Wave(Pcm),
    /// Something else, which begins with these bytes.
    Other(Vec<u8>),
}

/// Reads the header, no byte more.
///
/// # Errors
/// The message, when the pipe cannot be read, or when it brings WAV that is not read.
pub(super) fn begin(pipe: &mut dyn Read) -> Outcome<Beginning> {
    let mut header = Vec::new();
    if !more(pipe, &mut header, 12)? || !header.starts_with(b"RIFF") || &header[8..] != b"WAVE" {
        return Ok(Beginning::Other(header));
    }
    loop {
        let chunk = header.len();
        if !more(pipe, &mut header, 8)? {
            return Ok(Beginning::Other(header));
        }
        let size = u32::from_le_bytes(std::array::from_fn(|byte| header[chunk + 4 + byte]));
        if header[chunk..].starts_with(b"data") {
            // A size that is known is that of a file, which may have more behind its samples.
            if !is_open(size) {
                return Ok(Beginning::Other(header));
            }
            break;
        }
        let bytes = (size as usize).next_multiple_of(2);
        if chunk + bytes > MOST_HEADER || !more(pipe, &mut header, bytes)? {
            return Ok(Beginning::Other(header));
        }
    }
    match pcm::wave(&mut Part::memory(header.as_slice().into()))? {
        Payload::Pcm(pcm) if pcm.coding.unit(pcm.channels).1 == 1 => Ok(Beginning::Wave(pcm)),
        _ => Ok(Beginning::Other(header)),
    }
}

/// Gives the samples to the sink as they come, up to the end of the pipe.
///
/// # Errors
/// The message, when the pipe cannot be read, or the samples are no waveform.
pub(super) fn read(pcm: &Pcm, pipe: &mut dyn Read, sink: &mut Sink) -> Outcome<()> {
    sink.begin(pcm.rate, pcm.channels)?;
    let frame = pcm.coding.unit(pcm.channels).0 as usize;
    let (mut bytes, mut waveform) = (Vec::new(), Vec::new());
    let mut block = vec![0; BLOCK];
    loop {
        let count = match pipe.read(&mut block) {
            Ok(0) => return Ok(()),
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(unreadable(error)),
        };
        bytes.extend_from_slice(&block[..count]);
        let whole = bytes.len() / frame * frame;
        waveform.clear();
        pcm.coding.decode(&bytes[..whole], pcm.channels, &mut waveform);
        bytes.drain(..whole);
        if !sink.push(&waveform, pcm.coding.is_float())? {
            return Ok(());
        }
    }
}

/// Appends `count` bytes, or fewer at the end; whether all are there.
///
/// # Errors
/// The message, when the pipe cannot be read.
fn more(pipe: &mut dyn Read, bytes: &mut Vec<u8>, count: usize) -> Outcome<bool> {
    let read = pipe.take(count as u64).read_to_end(bytes).map_err(unreadable)?;
    Ok(read == count)
}
