//! Apple's CAF, with plain samples; a library decodes other codecs.

use super::adpcm::Adpcm;
use super::coding::Coding;
use super::{Order, Payload, Pcm, extent};
use crate::audio::decode::Outcome;
use crate::audio::decode::mp4::Edit;
use crate::audio::decode::part::Part;

const MOST_CHUNKS: usize = 4096;

/// # Errors
/// The message.
pub(in crate::audio::decode) fn parse(part: &mut Part) -> Outcome<Payload> {
    let order = Order::Big;
    let (mut description, mut data, mut packets) = (None, None, None);
    let mut at = 8u64;
    for _ in 0..MOST_CHUNKS {
        let head = part.peek(at, 12)?;
        if head.len() < 12 {
            break;
        }
        let (begin, size) = (at + 12, order.u64(&head, 4) as i64);
        match &head[..4] {
            b"desc" => description = Some(part.peek(begin, 32)?),
            // Four bytes count the edits; a size of -1 reaches to the end.
            b"data" => data = Some((begin + 4, u64::try_from(size).ok().map(|size| size.saturating_sub(4)))),
            b"pakt" => packets = Some(part.peek(begin, 24)?),
            _ => {}
        }
        let Some(end) = u64::try_from(size).ok().and_then(|size| begin.checked_add(size)) else { break };
        if end >= part.length() {
            break;
        }
        at = end;
    }
    let Some(description) = description.filter(|description| description.len() == 32) else {
        return Err(
            "is a CAF file without a whole `desc` chunk: it is cut short or damaged; export it again".into(),
        );
    };
    let Some((start, declared)) = data else {
        return Err("is a CAF file without a `data` chunk: it is cut short; fetch it again".into());
    };
    let word = |at: usize| order.u32(&description, at);
    let rate = f64::from_bits(order.u64(&description, 0));
    let rate = if rate < f64::from(u32::MAX) { rate.round() as u32 } else { 0 };
    let (flags, packet, channels) = (word(12), word(16) as usize, word(24) as usize);
    if channels > 1024 {
        return Err("has more than 1024 channels, which is a damaged header; export it again".into());
    }
    // Encoders begin with samples of their own, and fill up the last packet.
    let packets = packets.filter(|packets| packets.len() == 24);
    let valid =
        packets.as_ref().map(|packets| order.u64(packets, 8)).filter(|&valid| valid > 0 && valid < 1 << 48);
    let priming = packets.as_ref().map_or(0, |packets| u64::from(order.u32(packets, 16)));
    let bytes = packet / channels.max(1);
    let sample_order = if flags & 2 != 0 { Order::Little } else { Order::Big };
    let coding = match &description[8..12] {
        b"lpcm" if flags & 1 != 0 => Coding::float(bytes, sample_order)?,
        b"lpcm" => Coding::signed(bytes, sample_order)?,
        b"ulaw" => Coding::MuLaw,
        b"alaw" => Coding::ALaw,
        b"ima4" => Coding::Adpcm(Adpcm::apple(channels.max(1))),
        _ => {
            let seconds = |frames: u64| frames as f64 / f64::from(rate.max(1));
            return Ok(Payload::Packets(Edit { start: seconds(priming), seconds: valid.map(seconds) }));
        }
    };
    let (unit, per_unit) = coding.unit(channels.max(1));
    let bytes_a_second = f64::from(rate) * unit as f64 / per_unit as f64;
    let size =
        extent(declared.unwrap_or(u64::MAX), declared.is_none(), start, part.length(), bytes_a_second)?;
    let mut pcm = Pcm::new(rate, channels, coding, vec![(start, size)])?;
    pcm.limit = valid;
    pcm.skip = priming.min(pcm.frames_of(size));
    Ok(Payload::Pcm(pcm))
}
