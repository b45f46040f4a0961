//! Sun's AU.

use super::coding::Coding;
use super::{Order, Payload, Pcm, extent, is_open};
use crate::audio::decode::Outcome;
use crate::audio::decode::part::Part;

/// # Errors
/// The message.
pub(in crate::audio::decode) fn parse(part: &mut Part) -> Outcome<Payload> {
    let head = part.peek(0, 24)?;
    if head.len() < 24 {
        return Err("is cut short in its header; fetch it again".into());
    }
    let order = if head.starts_with(b"dns.") { Order::Little } else { Order::Big };
    let word = |at: usize| order.u32(&head, at);
    let (start, declared, rate, channels) = (u64::from(word(4)), word(8), word(16), word(20));
    let coding = match word(12) {
        1 => Coding::MuLaw,
        2 => Coding::signed(1, order)?,
        3 => Coding::signed(2, order)?,
        4 => Coding::signed(3, order)?,
        5 => Coding::signed(4, order)?,
        6 => Coding::float(4, order)?,
        7 => Coding::float(8, order)?,
        27 => Coding::ALaw,
        23..=26 => {
            return Err("is an AU file with G.721, G.722 or G.723 ADPCM; export it as 16-bit PCM".into());
        }
        other => return Err(format!("is an AU file with the encoding {other}; export it as 16-bit PCM")),
    };
    let channels = usize::try_from(channels).ok().filter(|&channels| channels <= 1024);
    let channels =
        channels.ok_or("has more than 1024 channels, which is a damaged header; export it again")?;
    let open = declared == 0 || is_open(declared);
    let bytes_a_second = f64::from(rate) * coding.unit(channels).0 as f64;
    let declared = if open { u64::MAX } else { u64::from(declared) };
    let size = extent(declared, open, start, part.length(), bytes_a_second)?;
    Ok(Payload::Pcm(Pcm::new(rate, channels, coding, vec![(start, size)])?))
}
