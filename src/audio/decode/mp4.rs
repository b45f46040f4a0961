//! The part of an MP4's audio that counts, from its edit list: encoders begin with samples of their own.

use super::Outcome;
use super::part::Part;

const MOST_BOXES: usize = 4096;

/// Seconds to leave out at the beginning, and of what is left those that count.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Edit {
    pub start: f64,
    pub seconds: Option<f64>,
}

/// The edit of the first track of audio; none where there is none, or one of several parts.
///
/// # Errors
/// The message, when the file cannot be read or has no index.
pub(super) fn edit(part: &mut Part) -> Outcome<Edit> {
    let whole = (0, part.length());
    let Some(movie) = find(part, whole, b"moov")? else {
        return Err("is cut short: it has no index (`moov`), which often comes last; fetch it again".into());
    };
    let movie_scale = scale(part, movie, b"mvhd")?;
    for track in
        boxes(part, movie)?.iter().filter(|(name, ..)| name == b"trak").map(|&(_, start, end)| (start, end))
    {
        let Some(media) = find(part, track, b"mdia")? else { continue };
        let Some(handler) = find(part, media, b"hdlr")? else { continue };
        if part.peek(handler.0 + 8, 4)? != b"soun" {
            continue;
        }
        let media_scale = scale(part, media, b"mdhd")?;
        let Some(edits) = find(part, track, b"edts")? else { return Ok(Edit::default()) };
        let Some(list) = find(part, edits, b"elst")? else { return Ok(Edit::default()) };
        return Ok(read(&part.peek(list.0, 8 + 20 * 8)?, movie_scale, media_scale));
    }
    Ok(Edit::default())
}

fn read(list: &[u8], movie_scale: f64, media_scale: f64) -> Edit {
    let word = |at: usize| list.get(at..at + 4).map_or(0, |b| u32::from_be_bytes([b[0], b[1], b[2], b[3]]));
    let long = |at: usize| (u64::from(word(at)) << 32) | u64::from(word(at + 4));
    let wide = list.first() == Some(&1);
    let size = if wide { 20 } else { 12 };
    let mut parts = (0..word(4).min(8) as usize).map(|index| {
        let at = 8 + index * size;
        match wide {
            true => (long(at), long(at + 8) as i64),
            false => (u64::from(word(at)), i64::from(word(at + 4) as i32)),
        }
    });
    // Empty edits (time -1) only say that other tracks begin earlier.
    let mut real = parts.by_ref().filter(|&(_, time)| time >= 0);
    match (real.next(), real.next()) {
        (Some((duration, time)), None) if media_scale > 0.0 => Edit {
            start: time as f64 / media_scale,
            seconds: Some(duration as f64 / movie_scale)
                .filter(|&seconds| duration > 0 && movie_scale > 0.0 && seconds > 0.0),
        },
        _ => Edit::default(),
    }
}

/// Ticks a second of a header that has them behind its times.
fn scale(part: &mut Part, within: (u64, u64), name: &[u8; 4]) -> Outcome<f64> {
    let Some((start, _)) = find(part, within, name)? else { return Ok(0.0) };
    let head = part.peek(start, 24)?;
    let at = if head.first() == Some(&1) { 20 } else { 12 };
    Ok(head.get(at..at + 4).map_or(0.0, |b| f64::from(u32::from_be_bytes([b[0], b[1], b[2], b[3]]))))
}

fn find(part: &mut Part, within: (u64, u64), name: &[u8; 4]) -> Outcome<Option<(u64, u64)>> {
    Ok(boxes(part, within)?.into_iter().find(|(found, ..)| found == name).map(|(_, start, end)| (start, end)))
}

/// Name, first byte and end of the boxes within a range.
fn boxes(part: &mut Part, (mut at, end): (u64, u64)) -> Outcome<Vec<([u8; 4], u64, u64)>> {
    let mut found = Vec::new();
    while at < end && found.len() < MOST_BOXES {
        let head = part.peek(at, 16)?;
        let [a, b, c, d, n, a2, m, e2, ..] = head[..] else { break };
        let size = u64::from(u32::from_be_bytes([a, b, c, d]));
        let (start, size) = match size {
            0 => (8, end - at),
            1 if head.len() == 16 => (
                16,
                u64::from_be_bytes([
                    head[8], head[9], head[10], head[11], head[12], head[13], head[14], head[15],
                ]),
            ),
            size => (8, size),
        };
        if size < start {
            break;
        }
        found.push(([n, a2, m, e2], at + start, at.saturating_add(size).min(end)));
        let Some(next) = at.checked_add(size) else { break };
        at = next;
    }
    Ok(found)
}
