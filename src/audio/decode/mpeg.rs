//! MPEG audio, layers 1 to 3: frames one after the other, with anything before, between and behind them.
//!
//! The frames are found here rather than by the library, which takes a header's estimate of the length for the
//! truth and ends there.

use symphonia::core::codecs::audio::well_known::{CODEC_ID_MP1, CODEC_ID_MP2, CODEC_ID_MP3};
use symphonia::core::codecs::audio::{AudioCodecParameters, AudioDecoder, AudioDecoderOptions};
use symphonia::core::packet::Packet;
use symphonia::core::units::{Duration, Timestamp};

use super::Outcome;
use super::part::Part;
use super::sink::Sink;

/// How far into a file the first frame is looked for.
const SEARCH: usize = 1 << 16;
/// Frames in a row that are no accident.
const CHAIN: usize = 3;
/// Frames before a part that are decoded for the sake of those that refer to them.
const LEAD: u64 = 40;
/// The decoder's own delay, which encoders leave out of the delay that they write.
const DECODER_DELAY: u64 = 529;
/// Junk between frames that is worth a word.
const MUCH_JUNK: u64 = 4096;

/// The header of a frame.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Header {
    /// 1 for MPEG-1, 2 for MPEG-2 and 2.5.
    version: u8,
    layer: u8,
    rate: u32,
    channels: usize,
    /// Bytes of the frame.
    size: u64,
    /// Samples of a channel.
    samples: u64,
    checksum: bool,
}

impl Header {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let [first, second, third, fourth, ..] = *bytes else { return None };
        if first != 0xFF || second & 0xE0 != 0xE0 {
            return None;
        }
        let (version, divisor) = match (second >> 3) & 3 {
            0 => (2, 4),
            2 => (2, 2),
            3 => (1, 1),
            _ => return None,
        };
        let layer = 4 - ((second >> 1) & 3);
        let kilobits: [u32; 14] = match (version, layer) {
            (_, 4) => return None,
            (1, 1) => [32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448],
            (1, 2) => [32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384],
            (1, _) => [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320],
            (_, 1) => [32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256],
            _ => [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
        };
        let bits = 1000 * kilobits.get(usize::from(third >> 4).checked_sub(1)?)?;
        let rate = [44_100, 48_000, 32_000].get(usize::from((third >> 2) & 3))? / divisor;
        let padding = u32::from((third >> 1) & 1);
        let (size, samples) = match (version, layer) {
            (_, 1) => ((12 * bits / rate + padding) * 4, 384),
            (2, 3) => (72 * bits / rate + padding, 576),
            _ => (144 * bits / rate + padding, 1152),
        };
        let channels = if fourth >> 6 == 3 { 1 } else { 2 };
        let checksum = second & 1 == 0;
        Some(Self { version, layer, rate, channels, size: size.into(), samples, checksum })
    }

    /// Whether both can be of one stream; bit rate and channels may change there.
    fn continues(&self, other: &Self) -> bool {
        (self.version, self.layer, self.rate) == (other.version, other.layer, other.rate)
    }
}

/// Where an ID3v2 tag ends that begins at `at`; `at` if there is none. Several may follow each other.
///
/// # Errors
/// The message, when it cannot be read.
pub(super) fn after_id3(part: &mut Part, mut at: u64) -> Outcome<u64> {
    loop {
        let head = part.peek(at, 10)?;
        if head.len() < 10 || !head.starts_with(b"ID3") || head[6..].iter().any(|byte| byte & 0x80 != 0) {
            return Ok(at);
        }
        let size = head[6..].iter().fold(0u64, |size, &byte| size << 7 | u64::from(byte));
        at += 10 + size + if head[5] & 0x10 != 0 { 10 } else { 0 };
    }
}

/// The first frame of a stream that begins within the first 64 KiB from `start` on.
///
/// # Errors
/// The message, when the file cannot be read.
pub(super) fn find(part: &mut Part, start: u64) -> Outcome<Option<u64>> {
    let beginning = part.peek(start, SEARCH)?;
    for at in 0..beginning.len().saturating_sub(3) {
        if Header::parse(&beginning[at..]).is_some() && chain(part, start + at as u64)? {
            return Ok(Some(start + at as u64));
        }
    }
    Ok(None)
}

/// Whether frames follow each other from `at` on: three of one stream, or fewer up to the end or to tags.
fn chain(part: &mut Part, mut at: u64) -> Outcome<bool> {
    let mut first = None::<Header>;
    for count in 0..CHAIN {
        let head = part.peek(at, 4)?;
        let tagged = head.starts_with(b"TAG") || head.starts_with(b"APE") || head.starts_with(b"ID3");
        if count > 0 && (at == part.length() || tagged) {
            return Ok(true);
        }
        let Some(header) =
            Header::parse(&head).filter(|header| first.is_none_or(|first| first.continues(header)))
        else {
            return Ok(false);
        };
        first = Some(header);
        at += header.size;
        if at > part.length() {
            // A file that ends in its second or third frame is cut, but of this kind.
            return Ok(count > 0);
        }
    }
    Ok(true)
}

/// What a stream says about itself in a first frame without sound.
#[derive(Debug, Clone, Copy)]
struct Info {
    frames: Option<u64>,
    /// Samples to leave out at the beginning and at the end.
    delay: u64,
    padding: u64,
}

impl Info {
    fn parse(frame: &[u8], header: &Header) -> Option<Self> {
        let word = |at: usize| Some(u32::from_be_bytes(*frame.get(at..)?.first_chunk()?));
        if frame.get(36..40) == Some(b"VBRI") {
            return Some(Self { frames: word(50).map(u64::from), delay: 0, padding: 0 });
        }
        let side = match (header.version, header.channels) {
            (1, 2) => 32,
            (1, _) | (_, 2) => 17,
            _ => 9,
        };
        let mut at = 4 + side;
        let is_info = |at: usize| matches!(frame.get(at..at + 4), Some(b"Xing" | b"Info"));
        if !is_info(at) && header.checksum {
            at += 2;
        }
        if header.layer != 3 || !is_info(at) {
            return None;
        }
        let flags = word(at + 4)?;
        at += 8;
        let frames = if flags & 1 != 0 { word(at) } else { None };
        for (flag, bytes) in [(1, 4), (2, 4), (4, 100), (8, 4)] {
            at += if flags & flag != 0 { bytes } else { 0 };
        }
        let (mut delay, mut padding) = (0, 0);
        if let Some(&[a, b, c]) = frame.get(at + 21..at + 24).and_then(|bytes| bytes.first_chunk::<3>())
            && frame[at].is_ascii_alphanumeric()
        {
            let both = u64::from(a) << 16 | u64::from(b) << 8 | u64::from(c);
            if both != 0 {
                (delay, padding) =
                    ((both >> 12) + DECODER_DELAY, (both & 0xFFF).saturating_sub(DECODER_DELAY));
            }
        }
        Some(Self { frames: frames.map(u64::from), delay, padding })
    }
}

/// Finds one frame after the other.
struct Walk<'a> {
    part: &'a mut Part,
    at: u64,
    last: Option<Header>,
    junk: u64,
    /// Whether the file ends within a frame.
    cut: bool,
}

impl Walk<'_> {
    /// The next frame's first byte and header.
    ///
    /// # Errors
    /// The message, when the file cannot be read.
    fn next(&mut self) -> Outcome<Option<(u64, Header)>> {
        loop {
            let head = self.part.peek(self.at, 32)?;
            if head.len() < 4 {
                return Ok(None);
            }
            let tag = match &head[..3] {
                b"ID3" => after_id3(self.part, self.at)? - self.at,
                b"TAG" if head[3] == b'+' => 227,
                b"TAG" => 128,
                b"APE" if head.len() == 32 && head.starts_with(b"APETAGEX") => {
                    32 + u64::from(u32::from_le_bytes([head[12], head[13], head[14], head[15]]))
                }
                _ => 0,
            };
            if tag > 0 {
                self.at += tag;
                continue;
            }
            if let Some(header) = Header::parse(&head)
                && (self.last.is_some_and(|last| last.continues(&header)) || chain(self.part, self.at)?)
            {
                let at = self.at;
                self.at += header.size;
                if self.at > self.part.length() {
                    self.cut = true;
                    return Ok(None);
                }
                self.last = Some(header);
                return Ok(Some((at, header)));
            }
            self.search()?;
        }
    }

    /// Goes on to where frames of this stream go on, or to the end.
    fn search(&mut self) -> Outcome<()> {
        let from = self.at;
        loop {
            let window = self.part.peek(self.at + 1, SEARCH)?;
            for (index, &byte) in window.iter().enumerate() {
                let at = self.at + 1 + index as u64;
                let tag = matches!(byte, b'T' | b'A' | b'I') && {
                    let rest = &window[index..];
                    rest.starts_with(b"TAG") && at + 128 == self.part.length()
                        || rest.starts_with(b"APETAGEX")
                        || rest.starts_with(b"ID3\x03")
                        || rest.starts_with(b"ID3\x04")
                };
                let frame = byte == 0xFF && Header::parse(&window[index..]).is_some();
                if tag || frame && chain(self.part, at)? {
                    self.junk += at - from;
                    self.at = at;
                    return Ok(());
                }
            }
            // A header or a tag may lie across the window's end.
            self.at += window.len().saturating_sub(8) as u64;
            if window.len() < SEARCH {
                self.junk += self.part.length().saturating_sub(from);
                self.at = self.part.length();
                return Ok(());
            }
        }
    }
}

/// A stream among those of a file, which begins with an `Info` or with the file.
#[derive(Default)]
struct Stream {
    info: Option<Info>,
    /// Frames with sound so far.
    frames: u64,
    per_frame: u64,
}

impl Stream {
    /// The samples of the next frame that count.
    fn keep(&self, samples: u64) -> std::ops::Range<usize> {
        let Some(info) = self.info else { return 0..samples as usize };
        let begin = self.frames * samples;
        let first = info.delay.saturating_sub(begin).min(samples);
        let end = info.frames.map(|frames| frames * samples);
        let last = match end.filter(|&end| begin < end) {
            Some(end) => end.saturating_sub(info.padding).saturating_sub(begin).clamp(first, samples),
            None => samples,
        };
        first as usize..last as usize
    }

    /// # Errors
    /// The message, when it holds fewer frames than it says.
    fn check(&self, rate: u32) -> Outcome<()> {
        // Some count the frame that says so.
        let Some(frames) = self.info.and_then(|info| info.frames).filter(|&frames| frames > self.frames + 1)
        else {
            return Ok(());
        };
        let seconds = |frames: u64| (frames * self.per_frame) as f64 / f64::from(rate.max(1));
        Err(format!(
            "is cut short: its header says {:.2} s, it holds {:.2} s; fetch it again",
            seconds(frames),
            seconds(self.frames)
        ))
    }
}

/// Decodes all frames, or with no sink only counts; the seconds that were there.
///
/// # Errors
/// The message.
pub(super) fn read(part: &mut Part, mut sink: Option<&mut Sink>) -> Outcome<f64> {
    let mut walk = Walk { part, at: 0, last: None, junk: 0, cut: false };
    let (mut stream, mut format, mut decoder) = (Stream::default(), None, None::<Box<dyn AudioDecoder>>);
    let (mut next, mut seconds, mut rate, mut skipped) = (0u64, 0.0, 0, false);
    let mut waveform = Vec::new();
    while let Some((at, header)) = walk.next()? {
        let frame = match stream.frames == 0 || sink.is_some() || header.layer == 3 {
            true => walk.part.peek(at, header.size as usize)?,
            false => Vec::new(),
        };
        if let Some(info) = Info::parse(&frame, &header) {
            stream.check(rate)?;
            stream = Stream { info: Some(info), frames: 0, per_frame: header.samples };
            decoder = None;
            rate = header.rate;
            continue;
        }
        if format != Some((header.rate, header.channels, header.layer)) {
            format = Some((header.rate, header.channels, header.layer));
            (next, rate, decoder) = (0, header.rate, None);
            if let Some(sink) = &mut sink {
                sink.begin(header.rate, header.channels)?;
            }
        }
        let keep = stream.keep(header.samples);
        stream.frames += 1;
        stream.per_frame = header.samples;
        let kept = keep.len() as u64;
        seconds += kept as f64 / f64::from(header.rate);
        next += kept;
        let Some(sink) = &mut sink else { continue };
        if next + LEAD * header.samples < sink.wanted() {
            sink.jump(next);
            skipped = true;
            continue;
        }
        if std::mem::take(&mut skipped) {
            decoder = None;
        }
        let decoder = match &mut decoder {
            Some(decoder) => decoder,
            None => decoder.insert(make(&header)?),
        };
        let packet = Packet::new(0, Timestamp::ZERO, Duration::new(header.samples), frame);
        waveform.clear();
        match decoder.decode(&packet) {
            Ok(decoded) => decoded.copy_to_vec_interleaved(&mut waveform),
            // Frames before the part may refer to others that were not decoded.
            Err(_) if next < sink.wanted() => {}
            Err(error) => return Err(format!("is damaged ({error}); fetch it again")),
        }
        waveform.resize(header.samples as usize * header.channels, 0.0);
        let kept = &waveform[keep.start * header.channels..keep.end * header.channels];
        if !sink.push(kept, true)? {
            return Ok(seconds);
        }
    }
    stream.check(rate)?;
    if walk.cut {
        return Err("is cut short: it ends in the middle of a frame; fetch it again".into());
    }
    if let Some(sink) = sink
        && walk.junk > MUCH_JUNK
    {
        sink.note(format!("{} bytes between its frames are no audio and are not read", walk.junk));
    }
    Ok(seconds)
}

/// # Errors
/// The message, when the library has no such decoder.
fn make(header: &Header) -> Outcome<Box<dyn AudioDecoder>> {
    let mut parameters = AudioCodecParameters::new();
    let codec = [CODEC_ID_MP1, CODEC_ID_MP2, CODEC_ID_MP3][usize::from(header.layer) - 1];
    parameters.for_codec(codec).with_sample_rate(header.rate);
    symphonia::default::get_codecs()
        .make_audio_decoder(&parameters, &AudioDecoderOptions::default())
        .map_err(|error| format!("cannot be decoded ({error})"))
}
