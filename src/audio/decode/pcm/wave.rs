//! The WAV family: RIFF, RIFX, RF64, BW64, Sony's W64.

use super::adpcm::{Adpcm, COEFFICIENTS, Kind};
use super::coding::Coding;
use super::{Order, Payload, Pcm, extent, is_open};
use crate::audio::decode::Outcome;
use crate::audio::decode::part::Part;

/// Chunks that are looked at, so that a file of empty ones ends.
const MOST_CHUNKS: usize = 4096;
/// A size may be this much wrong: some writers count headers with the samples.
const SLACK: u64 = 64;
/// Bytes of a `fmt ` chunk that matter.
const MOST_FORMAT: usize = 1024;

/// A file's chunks, as far as they matter.
#[derive(Default)]
struct Chunks {
    format: Option<Vec<u8>>,
    /// Samples that the file counts.
    fact: Option<u64>,
    /// First byte and declared size, and whether the writer could not know it.
    data: Vec<(u64, u64, bool)>,
    /// Bytes at the end that are no chunk.
    rest: u64,
}

/// RIFF, RIFX, RF64, BW64.
///
/// # Errors
/// The message.
pub(in crate::audio::decode) fn parse(part: &mut Part) -> Outcome<Payload> {
    let head = part.peek(0, 12)?;
    let order = if head.starts_with(b"RIFX") { Order::Big } else { Order::Little };
    let form = order.u32(&head, 4);
    let piped = form == 0 || is_open(form) && !head.starts_with(b"RF64") && !head.starts_with(b"BW64");
    let (mut chunks, mut large) = (Chunks::default(), None);
    let mut at = 12;
    for _ in 0..MOST_CHUNKS {
        let head = part.peek(at, 8)?;
        if !is_chunk(&head) {
            chunks.rest = part.length().saturating_sub(at);
            break;
        }
        let (name, declared) = (&head[..4], order.u32(&head, 4));
        let (begin, mut size) = (at + 8, u64::from(declared));
        match name {
            b"ds64" => {
                let sizes = part.peek(begin, 24)?;
                large = Some((order.u64(&sizes, 8), order.u64(&sizes, 16)));
            }
            b"fmt " => chunks.format = Some(part.peek(begin, (size as usize).min(MOST_FORMAT))?),
            b"fact" => {
                let count = order.u32(&part.peek(begin, 4)?, 0);
                let counted = match large {
                    Some((_, frames)) if count == u32::MAX => frames,
                    _ => u64::from(count),
                };
                chunks.fact = Some(counted).filter(|&frames| frames > 0 && !is_open(count));
            }
            b"data" => {
                let mut open = piped || is_open(declared);
                if let Some((bytes, _)) = large.filter(|_| declared == u32::MAX) {
                    (size, open) = (bytes, bytes == 0);
                } else if piped && is_open(declared) {
                    size = u64::MAX;
                }
                // A file that is as long as it says is not cut short.
                let excess = begin.saturating_add(size).saturating_sub(part.length());
                open |= excess <= SLACK && u64::from(form) + 8 <= part.length();
                // No size at all: what follows is samples, unless it is a chunk.
                let follows = part.peek(begin, 8)?;
                if size == 0 && !follows.is_empty() && !fits(&follows, begin, part.length(), order) {
                    (size, open) = (u64::MAX, true);
                }
                chunks.data.push((begin, size, open));
            }
            _ => {}
        }
        let end = begin.saturating_add(size);
        if end >= part.length() {
            break;
        }
        at = end;
        if size % 2 == 1 {
            // A chunk of odd size has a pad byte, which some writers forget.
            let next = part.peek(end, 9)?;
            let forgotten =
                fits(&next, end, part.length(), order) && !fits(&next[1..], end + 1, part.length(), order);
            at += u64::from(!forgotten);
        }
    }
    payload(part, &chunks, order)
}

/// Sony's W64, with GUIDs for names and 64-bit sizes.
///
/// # Errors
/// The message.
pub(in crate::audio::decode) fn parse_64(part: &mut Part) -> Outcome<Payload> {
    let (order, mut chunks) = (Order::Little, Chunks::default());
    let mut at = 40;
    for _ in 0..MOST_CHUNKS {
        let head = part.peek(at, 24)?;
        if head.len() < 24 {
            break;
        }
        let (begin, declared) = (at + 24, order.u64(&head, 16));
        let size = declared.saturating_sub(24);
        match &head[..4] {
            b"fmt " => chunks.format = Some(part.peek(begin, (size.min(1 << 20) as usize).min(MOST_FORMAT))?),
            b"fact" => {
                let count = order.u64(&part.peek(begin, 8)?, 0);
                chunks.fact = Some(count).filter(|&frames| frames > 0 && frames < 1 << 48);
            }
            b"data" => {
                let open = declared <= 24 || declared >= 1 << 62;
                chunks.data.push((begin, if open { u64::MAX } else { size }, open));
            }
            _ => {}
        }
        let Some(end) = begin.checked_add(size).and_then(|end| end.checked_next_multiple_of(8)) else {
            break;
        };
        if end >= part.length() {
            break;
        }
        at = end;
    }
    payload(part, &chunks, order)
}

/// Whether bytes can be the head of a chunk: a name in ASCII, and a size.
fn is_chunk(head: &[u8]) -> bool {
    head.len() >= 8 && head[..4].iter().all(|byte| (0x20..0x7F).contains(byte))
}

/// Whether bytes at `at` are the head of a chunk that the file of `length` bytes can hold.
fn fits(head: &[u8], at: u64, length: u64, order: Order) -> bool {
    is_chunk(head) && {
        let size = order.u32(head, 4);
        is_open(size) || at + 8 + u64::from(size) <= length + SLACK
    }
}

/// # Errors
/// The message, when the chunks are not those of audio that is read.
fn payload(part: &mut Part, chunks: &Chunks, order: Order) -> Outcome<Payload> {
    let Some(format) = chunks.format.as_ref().filter(|format| format.len() >= 14) else {
        return Err(
            "is a WAV file without a whole `fmt ` chunk: it is cut short or damaged; export it again".into(),
        );
    };
    if chunks.data.is_empty() {
        return Err("is a WAV file without a `data` chunk: it is cut short; fetch it again".into());
    }
    let short = |at: usize| order.u16(format, at);
    let (mut tag, channels) = (short(0), usize::from(short(2)));
    let (rate, bytes_a_second) = (order.u32(format, 4), f64::from(order.u32(format, 8)));
    let (block, bits) = (usize::from(short(12)), usize::from(short(14)));
    if tag == 0xFFFE && format.len() >= 26 {
        // The GUID of an extended format begins with the tag.
        tag = order.u16(format, 24);
    }
    let mut ranges = Vec::new();
    for &(start, declared, open) in &chunks.data {
        ranges.push((start, extent(declared, open, start, part.length(), bytes_a_second)?));
    }
    if channels == 0 {
        return Err("has no channels; export it again".into());
    }
    let container = match block / channels {
        bytes if block % channels == 0 && bytes >= bits.div_ceil(8) && bytes > 0 => bytes,
        _ => bits.div_ceil(8),
    };
    let coding = match tag {
        1 if container == 1 => Coding::Unsigned,
        1 => Coding::signed(container, order)?,
        3 => Coding::float(container, order)?,
        6 => Coding::ALaw,
        7 => Coding::MuLaw,
        2 | 0x11 => {
            let kind = if tag == 2 { Kind::Microsoft(coefficients(format, order)) } else { Kind::Ima };
            let adpcm = Adpcm { kind, block };
            if adpcm.frames(block, channels) == 0 || bits != 4 {
                return Err(format!(
                    "has ADPCM of {bits} bits in blocks of {block} bytes; export it as 16-bit PCM"
                ));
            }
            Coding::Adpcm(adpcm)
        }
        0x50 | 0x55 => {
            let (start, length) = ranges[0];
            return Ok(Payload::Mpeg(start, start + length));
        }
        other => return Err(format!("is a WAV file with {}; export it as 16-bit PCM", codec(other))),
    };
    let adpcm = matches!(coding, Coding::Adpcm(_));
    let mut pcm = Pcm::new(rate, channels, coding, ranges)?;
    // The last block of ADPCM is filled up; other files count themselves.
    pcm.limit = chunks.fact.filter(|_| adpcm);
    let audio_bytes: u64 = pcm.ranges.iter().map(|&(_, length)| length).sum();
    if chunks.rest > SLACK.max(audio_bytes / 100) {
        let note = format!("{} bytes behind its samples belong to no chunk and are not read", chunks.rest);
        pcm.notes.push(note);
    }
    Ok(Payload::Pcm(pcm))
}

/// The coefficients of Microsoft's ADPCM that the format lists, the usual ones where it does not.
fn coefficients(format: &[u8], order: Order) -> Vec<[i32; 2]> {
    let count = usize::from(order.u16(format, 20));
    let value = |at: usize| i32::from(order.u16(format, at) as i16);
    match count {
        7..=256 if format.len() >= 22 + 4 * count => {
            (0..count).map(|pair| [value(22 + 4 * pair), value(24 + 4 * pair)]).collect()
        }
        _ => COEFFICIENTS.to_vec(),
    }
}

/// What the registry of WAV's codecs calls a tag.
fn codec(tag: u16) -> String {
    match tag {
        0x31 => "GSM 6.10".into(),
        0x22 => "DSP Group TrueSpeech".into(),
        0x40 | 0x64 => "G.721 or G.726 ADPCM".into(),
        0x45 | 0x14 => "G.726 or G.723 ADPCM".into(),
        0x65 | 0x28F => "G.722 ADPCM".into(),
        0x160..=0x163 => "Windows Media audio".into(),
        0xFF | 0x1600..=0x1610 => "AAC".into(),
        0x2000 => "AC-3".into(),
        0x2001 => "DTS".into(),
        0xF1AC => "FLAC".into(),
        0x704F => "Opus".into(),
        0x566F | 0x674F..=0x6771 => "Vorbis".into(),
        other => format!("the codec 0x{other:04X}"),
    }
}
