//! AIFF and AIFF-C.

use super::adpcm::Adpcm;
use super::coding::Coding;
use super::{Order, Payload, Pcm, extent, is_open};
use crate::audio::decode::Outcome;
use crate::audio::decode::part::Part;

const MOST_CHUNKS: usize = 4096;

/// # Errors
/// The message.
pub(in crate::audio::decode) fn parse(part: &mut Part) -> Outcome<Payload> {
    let order = Order::Big;
    let form = order.u32(&part.peek(4, 4)?, 0);
    let piped = form == 0 || is_open(form);
    let (mut common, mut sound) = (None, None);
    let mut at = 12;
    for _ in 0..MOST_CHUNKS {
        let head = part.peek(at, 8)?;
        if head.len() < 8 {
            break;
        }
        let (begin, declared) = (at + 8, order.u32(&head, 4));
        match &head[..4] {
            b"COMM" => common = Some(part.peek(begin, (declared as usize).min(64))?),
            b"SSND" => {
                let offset = u64::from(order.u32(&part.peek(begin, 4)?, 0));
                let size = u64::from(declared).saturating_sub(8 + offset);
                sound = Some((begin + 8 + offset, size, is_open(declared) || declared <= 8));
            }
            _ => {}
        }
        at = begin + u64::from(declared) + u64::from(declared % 2);
        if at >= part.length() || sound.is_some_and(|(_, _, open)| open) {
            break;
        }
    }
    let Some(common) = common.filter(|common| common.len() >= 18) else {
        return Err(
            "is an AIFF file without a whole `COMM` chunk: it is cut short or damaged; export it again"
                .into(),
        );
    };
    let Some((start, mut size, unknown)) = sound else {
        return Err("is an AIFF file without a `SSND` chunk: it is cut short; fetch it again".into());
    };
    let (channels, frames) = (usize::from(order.u16(&common, 0)), u64::from(order.u32(&common, 2)));
    let (bytes, rate) = (usize::from(order.u16(&common, 6)).div_ceil(8), extended(&common[8..18]));
    let name = common.get(18..22).unwrap_or(b"NONE");
    let mut block = 1;
    let coding = match name {
        b"NONE" | b"twos" | b"in24" | b"in32" => Coding::signed(bytes, order)?,
        b"sowt" | b"42ni" | b"23ni" => Coding::signed(bytes, Order::Little)?,
        b"raw " if bytes == 1 => Coding::Unsigned,
        b"fl32" | b"FL32" => Coding::float(4, order)?,
        b"fl64" | b"FL64" => Coding::float(8, order)?,
        b"ulaw" | b"ULAW" => Coding::MuLaw,
        b"alaw" | b"ALAW" => Coding::ALaw,
        b"ima4" => {
            // Packets are counted there, not samples.
            block = 64;
            Coding::Adpcm(Adpcm::apple(channels.max(1)))
        }
        other => {
            let other = String::from_utf8_lossy(other).into_owned();
            return Err(format!("is an AIFF file with the codec {other:?}; export it as 16-bit PCM"));
        }
    };
    let (unit, per_unit) = coding.unit(channels.max(1));
    let open = unknown || piped && frames == 0;
    if open {
        size = u64::MAX;
    }
    let bytes_a_second = f64::from(rate) * unit as f64 / per_unit as f64;
    let size = extent(size, open, start, part.length(), bytes_a_second)?;
    let mut pcm = Pcm::new(rate, channels, coding, vec![(start, size)])?;
    if block == 1 && !open && frames > pcm.frames() {
        return Err(format!(
            "is cut short: its header says {frames} samples, it holds {}; fetch it again",
            pcm.frames()
        ));
    }
    pcm.limit = Some(frames).filter(|&frames| frames > 0 && !open && block == 1);
    Ok(Payload::Pcm(pcm))
}

/// A rate as an 80-bit float; 0 where it is no rate.
fn extended(bytes: &[u8]) -> u32 {
    let exponent = i32::from(Order::Big.u16(bytes, 0) & 0x7FFF) - 16_383 - 63;
    let rate = Order::Big.u64(bytes, 2) as f64 * 2f64.powi(exponent);
    if rate < f64::from(u32::MAX) { rate.round() as u32 } else { 0 }
}
