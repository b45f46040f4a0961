//! AAC frames one after the other (ADTS): whether the file ends where a frame does.

use super::Outcome;
use super::part::Part;

/// # Errors
/// The message, when the file ends within a frame.
pub(super) fn check_end(part: &mut Part) -> Outcome<()> {
    let mut at = 0;
    loop {
        let head = part.peek(at, 7)?;
        if head.len() < 7 || head[0] != 0xFF || head[1] & 0xF6 != 0xF0 {
            return Ok(());
        }
        let size = u64::from(head[3] & 3) << 11 | u64::from(head[4]) << 3 | u64::from(head[5] >> 5);
        if size < 7 {
            return Ok(());
        }
        at += size;
        if at > part.length() {
            return Err("is cut short: it ends in the middle of a frame; fetch it again".into());
        }
    }
}
