//! Links of OGG files: streams that follow each other in one file, each of which a reader takes for itself.

use super::Outcome;
use super::part::Part;

/// A page of OGG at its longest.
const LONGEST_PAGE: usize = 27 + 255 + 255 * 255;
const FIRST: u8 = 2;
const LAST: u8 = 4;

/// First byte and end of a link.
pub(super) struct Link {
    pub start: u64,
    pub end: u64,
    /// Whether its last page says that it is the last.
    pub ended: bool,
}

/// The links of a file.
///
/// # Errors
/// The message, when it ends within a page or there is none.
pub(super) fn links(part: &mut Part) -> Outcome<Vec<Link>> {
    let mut links: Vec<Link> = Vec::new();
    let (mut at, mut heads) = (0, false);
    while let Some((start, flags, size)) = page(part, at)? {
        at = start + size;
        if at > part.length() {
            return Err("is cut short: it ends in the middle of a page; fetch it again".into());
        }
        // All streams of a link begin before any of them goes on.
        let first = flags & FIRST != 0;
        if first && !heads || links.is_empty() {
            links.push(Link { start, end: at, ended: false });
        }
        heads = first;
        if let Some(link) = links.last_mut() {
            (link.end, link.ended) = (at, flags & LAST != 0);
        }
    }
    if links.is_empty() {
        return Err("is damaged: it holds no page of OGG; fetch it again".into());
    }
    Ok(links)
}

/// First byte, flags and size of the next page from `at` on.
fn page(part: &mut Part, mut at: u64) -> Outcome<Option<(u64, u8, u64)>> {
    loop {
        let head = part.peek(at, 27 + 255)?;
        if let (Some(b"OggS\0"), Some(&flags), Some(&segments)) = (head.get(..5), head.get(5), head.get(26)) {
            let table = head.iter().skip(27).take(usize::from(segments));
            let size = 27 + u64::from(segments) + table.map(|&bytes| u64::from(bytes)).sum::<u64>();
            return Ok(Some((at, flags, size)));
        }
        if head.starts_with(b"OggS") && head.len() < 27 {
            return Ok(Some((at, 0, 28)));
        }
        // Something else lies between pages, or behind the last.
        let window = part.peek(at + 1, LONGEST_PAGE)?;
        match window.windows(4).position(|bytes| bytes == b"OggS") {
            Some(found) => at += 1 + found as u64,
            None if window.len() < LONGEST_PAGE => return Ok(None),
            None => at += window.len() as u64 - 3,
        }
    }
}
