//! Containers of packets by symphonia: FLAC, OGG, MP4, Matroska, CAF, ADTS; Opus by a decoder of its own.

use std::io::{ErrorKind, Seek};

use symphonia::core::codecs::audio::well_known::{
    CODEC_ID_AAC, CODEC_ID_AC3, CODEC_ID_DCA, CODEC_ID_EAC3, CODEC_ID_OPUS, CODEC_ID_WMA,
};
use symphonia::core::codecs::audio::{AudioCodecId, AudioCodecParameters, AudioDecoder, AudioDecoderOptions};
use symphonia::core::errors::Error;
use symphonia::core::formats::{FormatOptions, FormatReader, SeekMode, SeekTo, TrackType};
use symphonia::core::io::MediaSourceStream;
use symphonia::core::packet::Packet;
use symphonia::core::units::Timestamp;
use symphonia::default::formats::{AdtsReader, CafReader, FlacReader, IsoMp4Reader, MkvReader, OggReader};

use super::content::Kind;
use super::mp4::Edit;
use super::opus::{self, Opus};
use super::part::Part;
use super::sink::{Sink, check_length};
use super::{FORMATS, Outcome, adts, flac, ogg};

/// The decoder of a track's packets.
enum Decoder {
    Library(Box<dyn AudioDecoder>),
    Opus(Box<Opus>),
}

/// A track of a container, and the part of it that counts.
struct Track {
    id: u32,
    decoder: Decoder,
    /// Ticks of the timestamps a second, where they count samples.
    rate: u32,
    /// Samples that the container counts.
    frames: Option<u64>,
}

/// Decodes the first track of audio.
///
/// # Errors
/// The message.
pub(super) fn read(part: &mut Part, kind: Kind, edit: Edit, sink: &mut Sink, whole: bool) -> Outcome<()> {
    match kind {
        Kind::Flac => {
            let start = flac::mend(part)?;
            let counted = flac::counted(part)?;
            if let Some((frames, rate)) = counted {
                check_length(frames as f64 / f64::from(rate))?;
            }
            let run = stream(part, kind, edit, sink, whole)?;
            match counted {
                Some((expected, _)) if whole && expected < run.decoded => {
                    return Err(format!(
                        "is damaged: its header says {expected} samples, it holds {}; export it again",
                        run.decoded
                    ));
                }
                Some((expected, _)) if whole && expected > run.decoded => {
                    return Err(format!(
                        "is cut short: its header says {expected} samples, it holds {}; fetch it again",
                        run.decoded
                    ));
                }
                None if whole => {
                    // Without a count, what is left behind the last frame shows a cut.
                    let end = start + run.bytes;
                    if matches!(part.peek(end, 2)?[..], [0xFF, 0xF8 | 0xF9]) {
                        return Err("is cut short: it ends in the middle of a frame; fetch it again".into());
                    }
                }
                _ => {}
            }
        }
        Kind::Ogg => {
            let all = part.range();
            for link in ogg::links(part)? {
                part.set_range((all.0 + link.start, link.end - link.start));
                let run = stream(part, kind, edit, sink, whole);
                part.set_range(all);
                let run = run?;
                if !link.ended && run.more {
                    sink.note(
                        "its last page does not say that it is the last; if it is no live recording, it is cut short",
                    );
                }
                if !run.more {
                    break;
                }
            }
        }
        _ => {
            if kind == Kind::Adts {
                adts::check_end(part)?;
            }
            stream(part, kind, edit, sink, whole)?;
        }
    }
    Ok(())
}

/// Decodes one stream from its beginning, or FLAC from the part that is wanted.
///
/// # Errors
/// The message.
fn stream(part: &mut Part, kind: Kind, edit: Edit, sink: &mut Sink, whole: bool) -> Outcome<Run> {
    let mut format = open(part, kind).map_err(damaged)?;
    let mut track = Track::find(&*format, kind, whole)?;
    let mut run = Run::default();
    if kind == Kind::Flac && !whole {
        sink.begin(track.rate, channels(&*format, track.id))?;
        run.started = true;
        let wanted = sink.wanted();
        if let Some(total) = track.frames.filter(|&total| wanted >= total) {
            sink.jump(total);
            return Ok(run);
        }
        if wanted > 0 {
            let to = SeekTo::Timestamp { ts: Timestamp::new(wanted as i64), track_id: track.id };
            let reached = format.seek(SeekMode::Accurate, to).map_err(damaged)?;
            sink.jump(reached.actual_ts.get().max(0) as u64);
        }
    }
    loop {
        match format.next_packet() {
            Ok(Some(packet)) if packet.track_id != track.id => {}
            Ok(Some(packet)) => {
                if kind == Kind::Ogg {
                    run.check_gap(&packet, track.rate)?;
                }
                if !run.push(&mut track, &packet, edit, sink)? {
                    return Ok(run);
                }
            }
            Ok(None) => break,
            // A link of OGG without a last page ends where the link does.
            Err(Error::IoError(error)) if error.kind() == ErrorKind::UnexpectedEof && kind == Kind::Ogg => {
                break;
            }
            Err(error) => return Err(damaged(error)),
        }
    }
    if let Decoder::Library(decoder) = &mut track.decoder
        && decoder.finalize().verify_ok == Some(false)
    {
        return Err("is damaged: its samples do not match its checksum; fetch it again".into());
    }
    run.more = true;
    Ok(run)
}

fn open(part: &mut Part, kind: Kind) -> Result<Box<dyn FormatReader + '_>, Error> {
    part.rewind().map_err(Error::IoError)?;
    let stream = MediaSourceStream::new(Box::new(part), Default::default());
    let options = FormatOptions::default();
    Ok(match kind {
        Kind::Flac => Box::new(FlacReader::try_new(stream, options)?),
        Kind::Ogg => Box::new(OggReader::try_new(stream, options)?),
        Kind::Mp4 => Box::new(IsoMp4Reader::try_new(stream, options)?),
        Kind::Matroska => Box::new(MkvReader::try_new(stream, options)?),
        Kind::Caf => Box::new(CafReader::try_new(stream, options)?),
        _ => Box::new(AdtsReader::try_new(stream, options)?),
    })
}

fn damaged(error: Error) -> String {
    match error {
        Error::IoError(error) => super::part::unreadable(error),
        Error::Unsupported(feature) => {
            format!(
                "is cut short, or has something that is not read ({feature}): fetch it again, or convert it to WAV or \
                 FLAC where it is whole"
            )
        }
        error => format!("is cut short or damaged ({error}); fetch it again"),
    }
}

fn channels(format: &dyn FormatReader, id: u32) -> usize {
    let track = format.tracks().iter().find(|track| track.id == id);
    let parameters = track.and_then(|track| track.codec_params.as_ref()?.audio());
    parameters.and_then(|parameters| parameters.channels.as_ref()).map_or(0, |channels| channels.count())
}

impl Track {
    /// # Errors
    /// The message, when there is none that is read.
    fn find(format: &dyn FormatReader, kind: Kind, verify: bool) -> Outcome<Self> {
        let Some(track) = format.default_track(TrackType::Audio) else {
            return Err(match format.tracks().is_empty() {
                true => format!("holds no audio track of a codec that is read; {FORMATS}"),
                false => "holds no audio, only pictures or text; remove it from the data".into(),
            });
        };
        let parameters = track.codec_params.as_ref().and_then(|parameters| parameters.audio());
        let parameters =
            parameters.ok_or_else(|| format!("holds no audio track of a codec that is read; {FORMATS}"))?;
        let decoder = if parameters.codec == CODEC_ID_OPUS {
            let count = parameters.channels.as_ref().map_or(1, |channels| channels.count());
            let head = parameters.extra_data.as_deref().filter(|head| head.starts_with(b"OpusHead"));
            let head = head.map_or_else(|| Opus::head(count), <[u8]>::to_vec);
            Decoder::Opus(Box::new(Opus::new(&head, kind == Kind::Mp4)?))
        } else {
            Decoder::Library(library(parameters, verify)?)
        };
        let rate = match &decoder {
            Decoder::Opus(_) => opus::RATE,
            Decoder::Library(_) => parameters.sample_rate.unwrap_or(0),
        };
        Ok(Self { id: track.id, decoder, rate, frames: track.num_frames })
    }
}

/// # Errors
/// The message, when the codec is not read.
fn library(parameters: &AudioCodecParameters, verify: bool) -> Outcome<Box<dyn AudioDecoder>> {
    let options = AudioDecoderOptions::default().verify(verify);
    symphonia::default::get_codecs().make_audio_decoder(parameters, &options).map_err(|error| match error {
        Error::Unsupported(_) => {
            format!("has audio in {}, which is not read; {FORMATS}", codec(parameters.codec))
        }
        error => damaged(error),
    })
}

fn codec(id: AudioCodecId) -> &'static str {
    match id {
        CODEC_ID_AC3 | CODEC_ID_EAC3 => "AC-3",
        CODEC_ID_DCA => "DTS",
        CODEC_ID_WMA => "WMA",
        CODEC_ID_AAC => "a form of AAC with more than two channels or another profile than LC",
        _ => "another codec",
    }
}

/// Decoding from packet to packet.
#[derive(Default)]
struct Run {
    /// Whether the sink was told the segment.
    started: bool,
    /// Frames that are still left out, and those that count after them.
    skip: u64,
    left: Option<u64>,
    /// Frames before anything is left out, and bytes of packets.
    decoded: u64,
    bytes: u64,
    /// The timestamp that comes next.
    expected: Option<i64>,
    /// Whether more is wanted after the last packet.
    more: bool,
    waveform: Vec<f32>,
}

impl Run {
    /// OGG's pages are numbered in samples: what is missing shows.
    ///
    /// # Errors
    /// The message, when something is.
    fn check_gap(&mut self, packet: &Packet, rate: u32) -> Outcome<()> {
        let (begin, length) = (packet.pts.get(), packet.block_dur().get() as i64);
        let missing = self.expected.map_or(0, |expected| begin.saturating_sub(expected));
        self.expected = Some(begin.saturating_add(length));
        if missing > 0 && rate > 0 {
            let seconds = |frames: i64| frames as f64 / f64::from(rate);
            return Err(format!(
                "is damaged: {:.2} s are missing at {:.2} s; fetch it again",
                seconds(missing),
                seconds(begin.saturating_sub(missing))
            ));
        }
        Ok(())
    }

    /// Decodes a packet into the sink; false when no more are wanted.
    ///
    /// # Errors
    /// The message.
    fn push(&mut self, track: &mut Track, packet: &Packet, edit: Edit, sink: &mut Sink) -> Outcome<bool> {
        let (rate, channels, float) = match &mut track.decoder {
            Decoder::Opus(opus) => {
                opus.decode(&packet.data, &mut self.waveform)?;
                let frames = self.waveform.len() / opus.channels;
                let end = frames.saturating_sub(packet.trim_end.get() as usize);
                self.waveform.truncate(end * opus.channels);
                (opus::RATE, opus.channels, true)
            }
            Decoder::Library(decoder) => {
                let decoded = decoder.decode(packet).map_err(damaged)?;
                decoded.copy_to_vec_interleaved(&mut self.waveform);
                (decoded.spec().rate(), decoded.spec().channels().count(), true)
            }
        };
        self.bytes += packet.data.len() as u64;
        if self.waveform.is_empty() {
            return Ok(true);
        }
        if !std::mem::replace(&mut self.started, true) {
            sink.begin(rate, channels)?;
            let frames = |seconds: f64| (seconds * f64::from(rate)).round() as u64;
            self.skip = match &track.decoder {
                Decoder::Opus(opus) if edit.start == 0.0 => opus.skip,
                _ => frames(edit.start),
            };
            self.left = edit.seconds.map(frames);
            track.rate = rate;
        } else if !sink.is(rate, channels) {
            return Err("changes its sample rate or channels midway; export it again".into());
        }
        let frames = (self.waveform.len() / channels) as u64;
        self.decoded += frames;
        let first = self.skip.min(frames);
        self.skip -= first;
        let last = (frames - first).min(self.left.unwrap_or(u64::MAX));
        if let Some(left) = &mut self.left {
            *left -= last;
        }
        sink.push(&self.waveform[first as usize * channels..(first + last) as usize * channels], float)
    }
}
