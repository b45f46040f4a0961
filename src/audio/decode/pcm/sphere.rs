//! NIST SPHERE, as in TIMIT.

use super::coding::Coding;
use super::{Order, Payload, Pcm, extent};
use crate::audio::decode::Outcome;
use crate::audio::decode::part::Part;

const LONGEST_HEADER: usize = 1 << 20;

/// # Errors
/// The message.
pub(in crate::audio::decode) fn parse(part: &mut Part) -> Outcome<Payload> {
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let size = text(part.peek(8, 8)?)
        .trim()
        .parse::<usize>()
        .ok()
        .filter(|size| (16..LONGEST_HEADER).contains(size));
    let size = size.ok_or("is a SPHERE file whose header has no size; fetch it again")?;
    let header = text(part.peek(16, size - 16)?);
    let fields: Vec<(&str, &str)> = header
        .lines()
        .take_while(|line| line.trim() != "end_head")
        .filter_map(|line| {
            let (name, rest) = line.trim().split_once(' ')?;
            Some((name, rest.trim().split_once(' ')?.1.trim()))
        })
        .collect();
    let field = |name: &str| fields.iter().find(|(field, _)| *field == name).map(|&(_, value)| value);
    let number = |name: &str, default: Option<u64>| match field(name) {
        Some(value) => {
            value.parse::<f64>().ok().filter(|value| (0.0..1e15).contains(value)).map(|value| value as u64)
        }
        None => default,
    };
    let missing =
        |name: &str| format!("is a SPHERE file without a valid {name:?} in its header; fetch it again");
    let rate = number("sample_rate", None).ok_or_else(|| missing("sample_rate"))?;
    let channels = number("channel_count", Some(1)).filter(|&channels| (1..=1024).contains(&channels));
    let channels = channels.ok_or_else(|| missing("channel_count"))? as usize;
    let coding = field("sample_coding").unwrap_or("pcm").to_ascii_lowercase();
    let default = if coding.starts_with("pcm") { 2 } else { 1 };
    let bytes = number("sample_n_bytes", Some(default)).ok_or_else(|| missing("sample_n_bytes"))? as usize;
    if coding.contains("embedded") {
        return Err(format!(
            "is a SPHERE file compressed as {coding:?}; unpack it with `sph2pipe -f wav` or `w_decode -o pcm`"
        ));
    }
    if channels > 1 && field("channels_interleaved").is_some_and(|value| value.eq_ignore_ascii_case("false"))
    {
        return Err(
            "is a SPHERE file whose channels are not interleaved; convert it with `sph2pipe -f wav`".into()
        );
    }
    let order = if field("sample_byte_format") == Some("10") { Order::Big } else { Order::Little };
    let coding = match coding.as_str() {
        "pcm" | "pcm-2" | "linear" => Coding::signed(bytes, order)?,
        "ulaw" | "mu-law" | "mulaw" => Coding::MuLaw,
        "alaw" | "a-law" => Coding::ALaw,
        other => {
            return Err(format!(
                "is a SPHERE file with the coding {other:?}; convert it with `sph2pipe -f wav`"
            ));
        }
    };
    let unit = coding.unit(channels).0;
    let count = number("sample_count", None).filter(|&count| count > 0);
    let declared = count.map_or(u64::MAX, |count| count.saturating_mul(unit));
    let rate = u32::try_from(rate).unwrap_or(0);
    let start = size as u64;
    let size = extent(declared, count.is_none(), start, part.length(), f64::from(rate) * unit as f64)?;
    Ok(Payload::Pcm(Pcm::new(rate, channels, coding, vec![(start, size)])?))
}
