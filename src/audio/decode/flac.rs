//! Corrects headers of valid FLAC files that the library refuses.

use super::Outcome;
use super::part::Part;

/// The least samples of a block that the format has.
const SHORTEST_BLOCK: u16 = 16;
/// Metadata blocks that are passed over.
const MOST_BLOCKS: usize = 1024;

/// Leaves away tags behind the audio, and gives the header the size that its blocks have: some encoders leave the
/// smallest at 0, or count the last block. Returns the first frame's first byte.
///
/// # Errors
/// The message, when the file ends in its header.
pub(super) fn mend(part: &mut Part) -> Outcome<u64> {
    without_tags(part)?;
    let head = part.peek(0, 42)?;
    if head.len() < 42 {
        return Err("is cut short in its header; fetch it again".into());
    }
    let mut at = 4;
    for _ in 0..MOST_BLOCKS {
        let block = part.peek(at, 4)?;
        if block.len() < 4 {
            return Err("is cut short in its header; fetch it again".into());
        }
        at += 4 + u64::from(u32::from_be_bytes([0, block[1], block[2], block[3]]));
        if block[0] & 0x80 != 0 {
            break;
        }
    }
    // A first frame in blocks of one size gives it; others are numbered by samples.
    let frame = part.peek(at, 16)?;
    let (least, most) = (u16::from_be_bytes([head[8], head[9]]), u16::from_be_bytes([head[10], head[11]]));
    let fixed = frame.starts_with(&[0xFF, 0xF8]);
    let first = if fixed { block_size(&frame) } else { None };
    let mended = match first {
        Some(size) if size >= SHORTEST_BLOCK => (size, size),
        _ if least >= SHORTEST_BLOCK && most >= least => return Ok(at),
        _ => (SHORTEST_BLOCK, if most >= SHORTEST_BLOCK { most } else { u16::MAX }),
    };
    if mended != (least, most) {
        part.replace(8, [mended.0.to_be_bytes(), mended.1.to_be_bytes()].concat());
    }
    Ok(at)
}

/// Samples of a frame's block.
fn block_size(frame: &[u8]) -> Option<u16> {
    let code = frame.get(2)? >> 4;
    // The frame's number comes before a size that is written out, in UTF-8's form; the first is 0, one byte.
    Some(match code {
        1 => 192,
        2..=5 => 576 << (code - 2),
        6 => u16::from(*frame.get(5)?) + 1,
        7 => u16::from_be_bytes([*frame.get(5)?, *frame.get(6)?]).checked_add(1)?,
        8..=15 => 256 << (code - 8),
        _ => return None,
    })
}

/// ID3v1, APE and Lyrics tags at the end, of which there may be several.
fn without_tags(part: &mut Part) -> Outcome<()> {
    loop {
        let length = part.length();
        let end = |count: u64| length.saturating_sub(count);
        let size = if length > 128 && part.peek(end(128), 3)? == b"TAG" {
            128
        } else {
            let foot = part.peek(end(32), 32)?;
            if foot.len() < 32 || !foot.starts_with(b"APETAGEX") {
                return Ok(());
            }
            let bytes = u64::from(u32::from_le_bytes([foot[12], foot[13], foot[14], foot[15]]));
            let header = if foot[23] & 0x80 != 0 { 32 } else { 0 };
            bytes.max(32) + header
        };
        part.narrow(0, end(size));
    }
}

/// Samples and rate that the header counts.
///
/// # Errors
/// The message, when the header cannot be read.
pub(super) fn counted(part: &mut Part) -> Outcome<Option<(u64, u32)>> {
    let head = part.peek(0, 26)?;
    let [.., a, b, c, d, e, f, g, h] = head[..] else { return Ok(None) };
    let word = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
    let (rate, frames) = ((word >> 44) as u32, word & 0xF_FFFF_FFFF);
    Ok((head.len() == 26 && frames > 0 && rate > 0).then_some((frames, rate)))
}
