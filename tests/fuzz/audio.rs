//! Containers and codecs. Each file is read whole, its length asked, and a part of it read.

use polymix::audio::{Recording, Span};
use polymix::error::Result;

use super::harness::{Target, scratch};

/// Tries a kind of audio, given under a file name.
pub fn fuzz_decode(name: &str, file: &str, seeds: Vec<Vec<u8>>, tokens: &[&[u8]], share: u64) {
    fuzz_decode_as(name, file, seeds, tokens, share, &<[u8]>::to_vec);
}

/// As [`fuzz_decode`]; what is mutated is what `pack` makes a file of.
pub fn fuzz_decode_as(
    name: &str,
    file: &str,
    seeds: Vec<Vec<u8>>,
    tokens: &[&[u8]],
    share: u64,
    pack: &dyn Fn(&[u8]) -> Vec<u8>,
) {
    let folder = scratch();
    let path = folder.path().join(file);
    let target = Target {
        name,
        seeds,
        tokens,
        parse: &mut |bytes| {
            std::fs::write(&path, pack(bytes)).unwrap();
            let recording = Recording::file(&path);
            let whole = recording.read();
            let _ = recording.duration();
            let part = Recording { span: Some(Span { start: 0.01, seconds: Some(0.02) }), ..recording };
            let part = part.read();
            decoded(whole).map(|samples| 4 * samples.max(decoded(part).unwrap_or(0)))
        },
        share,
    };
    target.run();
}

fn decoded(audio: Result<polymix::audio::Audio>) -> Result<usize> {
    let audio = audio?;
    assert!(audio.samples.iter().all(|sample| sample.is_finite()), "samples that are not finite");
    Ok(audio.samples.len())
}

/// A RIFF chunk with its pad byte.
pub fn chunk(name: &[u8; 4], content: &[u8]) -> Vec<u8> {
    let mut bytes = [&name[..], &(content.len() as u32).to_le_bytes(), content].concat();
    bytes.resize(bytes.len().next_multiple_of(2), 0);
    bytes
}

pub fn riff(chunks: &[Vec<u8>]) -> Vec<u8> {
    chunk(b"RIFF", &[b"WAVE".to_vec(), chunks.concat()].concat())
}

/// The content of a `fmt ` chunk.
pub fn format(tag: u16, channels: u16, rate: u32, bits: u16, extension: &[u8]) -> Vec<u8> {
    let frame = channels * bits.div_ceil(8);
    let mut bytes = [&tag.to_le_bytes()[..], &channels.to_le_bytes(), &rate.to_le_bytes()].concat();
    bytes.extend((rate * u32::from(frame)).to_le_bytes());
    bytes.extend(frame.to_le_bytes());
    bytes.extend(bits.to_le_bytes());
    if !extension.is_empty() {
        bytes.extend((extension.len() as u16).to_le_bytes());
        bytes.extend(extension);
    }
    bytes
}

/// Bytes that sound like something.
pub fn ramp(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|i| (i * 37 % 251) as u8).collect()
}

#[test]
fn wav() {
    let data = |bytes: usize| chunk(b"data", &ramp(bytes));
    let plain = |tag, channels, rate, bits: u16| {
        let bytes = 400 * usize::from(channels) * usize::from(bits.div_ceil(8));
        riff(&[chunk(b"fmt ", &format(tag, channels, rate, bits, &[])), data(bytes)])
    };
    // 20 valid bits of 24, the mask of channels, the GUID of PCM.
    let extension =
        [&20_u16.to_le_bytes()[..], &4_u32.to_le_bytes(), b"\x01\0\0\0\0\0\x10\0\x80\0\0\xAA\0\x38\x9B\x71"]
            .concat();
    let floats: Vec<u8> = (0..400).flat_map(|i| (i as f32 * 0.05).sin().to_le_bytes()).collect();
    let seeds = vec![
        plain(1, 1, 16_000, 16),
        plain(1, 1, 8_000, 8),
        plain(1, 2, 48_000, 24),
        plain(1, 2, 44_100, 32),
        riff(&[chunk(b"fmt ", &format(3, 1, 16_000, 32, &[])), chunk(b"data", &floats)]),
        riff(&[
            chunk(b"LIST", b"INFOx"),
            chunk(b"fmt ", &format(0xFFFE, 1, 16_000, 24, &extension)),
            data(1200),
        ]),
    ];
    let tokens: [&[u8]; 12] = [
        b"RIFF",
        b"RF64",
        b"WAVE",
        b"fmt ",
        b"data",
        b"LIST",
        b"ds64",
        b"fact",
        b"\xFE\xFF",
        b"\x06\0",
        b"\x07\0",
        b"\x11\0",
    ];
    fuzz_decode("wav", "a.wav", seeds, &tokens, 1);
}

#[test]
fn flac() {
    let tone = include_bytes!("../../src/audio/fixtures/tone.flac").to_vec();
    let tagged = [&b"ID3\x03\0\0\0\0\0\x0A"[..], &[0; 10], &tone].concat();
    let tokens: [&[u8]; 5] = [b"fLaC", b"ID3", b"TAG", b"\xFF\xF8", b"\xFF\xF9"];
    fuzz_decode("flac", "a.flac", vec![tone, tagged], &tokens, 4);
}

#[test]
fn ogg() {
    let tone = include_bytes!("../../src/audio/fixtures/tone.ogg").to_vec();
    let tokens: [&[u8]; 6] = [b"OggS", b"\x01vorbis", b"\x03vorbis", b"\x05vorbis", b"OpusHead", b"BCV"];
    fuzz_decode("ogg", "a.ogg", vec![tone], &tokens, 8);
}

/// Frames of MPEG-1 layer III, 128 kbit/s at 44.1 kHz, whose side information says that they are silent.
fn silent_frames(count: usize) -> Vec<u8> {
    let mut frame = vec![0xFF, 0xFB, 0x90, 0x64];
    frame.resize(417, 0);
    frame.repeat(count)
}

#[test]
fn mp3() {
    let tagged = [&b"ID3\x03\0\0\0\0\0\x0A"[..], &[0; 10], &silent_frames(6)].concat();
    let tokens: [&[u8]; 6] =
        [b"\xFF\xFB\x90\x64", b"\xFF\xF3\x40\xC4", b"ID3", b"TAG", b"Xing", b"LAME3.100"];
    fuzz_decode("mp3", "a.mp3", vec![silent_frames(8), tagged], &tokens, 4);
}
