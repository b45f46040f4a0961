//! Opus packets.

use ropus::opus::multistream::OpusMSDecoder;

use super::Outcome;

/// The rate that Opus is decoded at.
pub(super) const RATE: u32 = 48_000;
/// Samples of the longest packet, 120 ms.
const LONGEST: usize = 5760;

/// A stream's decoder.
pub(super) struct Opus {
    decoder: OpusMSDecoder,
    pub channels: usize,
    /// Samples before the first one that counts.
    pub skip: u64,
    gain: f32,
    samples: Vec<i16>,
}

impl Opus {
    /// From the identification header (RFC 7845, section 5.1), whose numbers are big-endian in MP4.
    ///
    /// # Errors
    /// The message, when it is not one that is understood.
    pub fn new(head: &[u8], big: bool) -> Outcome<Self> {
        let damaged = || "has a damaged Opus header; fetch it again".to_string();
        if head.len() < 19 || !head.starts_with(b"OpusHead") {
            return Err(damaged());
        }
        let short = |at: usize| {
            let bytes = [head[at], head[at + 1]];
            if big { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) }
        };
        let (channels, skip, gain) = (usize::from(head[9]), u64::from(short(10)), short(16) as i16);
        let (streams, coupled, mapping) = match head[18] {
            0 if (1..=2).contains(&channels) => (1, channels as i32 - 1, vec![0, 1][..channels].to_vec()),
            0 => return Err(damaged()),
            3 => {
                return Err(
                    "is Opus with ambisonic sound; convert it to WAV or FLAC, with ffmpeg for example".into(),
                );
            }
            _ => {
                let mapping = head.get(21..21 + channels).ok_or_else(damaged)?;
                (i32::from(head[19]), i32::from(head[20]), mapping.to_vec())
            }
        };
        let decoder = OpusMSDecoder::new(RATE as i32, channels as i32, streams, coupled, &mapping);
        Ok(Self {
            decoder: decoder.map_err(|_| damaged())?,
            channels,
            skip,
            gain: 10f32.powf(f32::from(gain) / (20.0 * 256.0)) / 32_768.0,
            samples: vec![0; LONGEST * channels],
        })
    }

    /// A header for containers that keep none.
    pub fn head(channels: usize) -> Vec<u8> {
        [b"OpusHead\x01", &[channels as u8][..], &[0; 9]].concat()
    }

    /// Replaces `waveform` by the packet's frames, interleaved.
    ///
    /// # Errors
    /// The message, when the packet is damaged.
    pub fn decode(&mut self, packet: &[u8], waveform: &mut Vec<f32>) -> Outcome<()> {
        let size = i32::try_from(packet.len()).unwrap_or(i32::MAX);
        let frames = self.decoder.decode(Some(packet), size, &mut self.samples, LONGEST as i32, false);
        let frames = frames.map_err(|_| "is damaged: it holds a packet that is not Opus; fetch it again")?;
        let samples = &self.samples[..frames as usize * self.channels];
        waveform.clear();
        waveform.extend(samples.iter().map(|&sample| f32::from(sample) * self.gain));
        Ok(())
    }
}
