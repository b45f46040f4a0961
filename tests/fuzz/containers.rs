//! Further containers and codings of audio.

use super::audio::{chunk, format, hear, hear_as, ramp, riff};

/// A WAV whose samples are `coding`.
fn coded(tag: u16, channels: u16, rate: u32, bits: u16, extension: &[u8], data: usize) -> Vec<u8> {
    riff(&[chunk(b"fmt ", &format(tag, channels, rate, bits, extension)), chunk(b"data", &ramp(data))])
}

#[test]
fn wav_of_other_codings() {
    let mut adpcm = format(0x11, 1, 16_000, 4, &505_u16.to_le_bytes());
    adpcm[12..14].copy_from_slice(&256_u16.to_le_bytes());
    let mut microsoft = format(
        2,
        1,
        16_000,
        4,
        &[&244_u16.to_le_bytes()[..], &7_u16.to_le_bytes(), &ramp_of_coefficients()].concat(),
    );
    microsoft[12..14].copy_from_slice(&128_u16.to_le_bytes());
    let ds64 = [&[0; 8][..], &800_u64.to_le_bytes(), &400_u64.to_le_bytes(), &[0; 4]].concat();
    let mut rf64 = riff(&[
        chunk(b"ds64", &ds64),
        chunk(b"fmt ", &format(1, 1, 16_000, 16, &[])),
        chunk(b"data", &ramp(800)),
    ]);
    rf64[..4].copy_from_slice(b"RF64");
    let seeds = vec![
        coded(6, 1, 8_000, 8, &[], 400),
        coded(7, 2, 8_000, 8, &[], 400),
        riff(&[chunk(b"fmt ", &adpcm), chunk(b"data", &ramp(512))]),
        riff(&[chunk(b"fmt ", &microsoft), chunk(b"data", &microsoft_block())]),
        rf64,
    ];
    let tokens: [&[u8]; 8] = [b"RF64", b"ds64", b"fact", b"\x02\0", b"\x11\0", b"\x06\0", b"\x07\0", b"data"];
    hear("wav_of_other_codings", "a.wav", seeds, &tokens, 1);
}

/// The seven pairs of coefficients of Microsoft's ADPCM.
fn ramp_of_coefficients() -> Vec<u8> {
    let pairs: [i16; 14] = [256, 0, 512, -256, 0, 0, 192, 64, 240, 0, 460, -208, 392, -232];
    pairs.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// Two blocks of 128 bytes.
fn microsoft_block() -> Vec<u8> {
    let mut block = vec![0];
    block.extend(16_i16.to_le_bytes());
    block.extend(0_i16.to_le_bytes());
    block.extend(0_i16.to_le_bytes());
    block.extend(ramp(128 - block.len()));
    block.repeat(2)
}

/// An AIFF chunk with its pad byte.
fn iff(name: &[u8; 4], content: &[u8]) -> Vec<u8> {
    let mut bytes = [&name[..], &(content.len() as u32).to_be_bytes(), content].concat();
    bytes.resize(bytes.len().next_multiple_of(2), 0);
    bytes
}

/// 16 kHz and 8 kHz in 80 bits.
const RATE_16: [u8; 10] = [0x40, 0x0C, 0xFA, 0, 0, 0, 0, 0, 0, 0];
const RATE_8: [u8; 10] = [0x40, 0x0B, 0xFA, 0, 0, 0, 0, 0, 0, 0];

fn aiff_of(
    form: &[u8; 4],
    channels: u16,
    frames: u32,
    bits: u16,
    rate: [u8; 10],
    coding: &[u8],
    data: usize,
) -> Vec<u8> {
    let mut common =
        [&channels.to_be_bytes()[..], &frames.to_be_bytes(), &bits.to_be_bytes(), &rate].concat();
    common.extend(coding);
    let sound = [&[0; 8][..], &ramp(data)].concat();
    iff(b"FORM", &[form.to_vec(), iff(b"COMM", &common), iff(b"SSND", &sound)].concat())
}

#[test]
fn aiff() {
    let seeds = vec![
        aiff_of(b"AIFF", 1, 400, 16, RATE_16, &[], 800),
        aiff_of(b"AIFF", 2, 200, 24, RATE_16, &[], 1200),
        aiff_of(b"AIFC", 1, 400, 16, RATE_16, b"sowt\x00\x00", 800),
        aiff_of(b"AIFC", 1, 400, 8, RATE_8, b"ulaw\x00\x00", 400),
    ];
    let tokens: [&[u8]; 12] = [
        b"FORM",
        b"AIFF",
        b"AIFC",
        b"COMM",
        b"SSND",
        b"NONE",
        b"sowt",
        b"fl32",
        b"alaw",
        b"ulaw",
        b"ima4",
        b"\x40\x1E",
    ];
    hear("aiff", "a.aiff", seeds, &tokens, 1);
}

#[test]
fn au() {
    let head = |length: u32, coding: u32, rate: u32, channels: u32| -> Vec<u8> {
        let numbers = [24, length, coding, rate, channels];
        [b".snd".to_vec(), numbers.iter().flat_map(|number: &u32| number.to_be_bytes()).collect()].concat()
    };
    let seeds = vec![
        [head(800, 3, 16_000, 1), ramp(800)].concat(),
        [head(u32::MAX, 1, 8_000, 1), ramp(400)].concat(),
        [head(1200, 4, 16_000, 2), ramp(1200)].concat(),
    ];
    hear("au", "a.au", seeds, &[b".snd", b"\0\0\0\x1B", b"\0\0\0\x06", b"\0\0\0\x07"], 1);
}

#[test]
fn sphere() {
    let head = |coding: &str, bytes: usize, rate: u32| -> Vec<u8> {
        let mut head = format!(
            "NIST_1A\n   1024\nchannel_count -i 1\nsample_count -i 400\nsample_rate -i {rate}\n\
             sample_n_bytes -i {bytes}\nsample_byte_format -s{bytes} {}\nsample_coding -s{} {coding}\nend_head\n",
            if bytes == 2 { "01" } else { "1" },
            coding.len()
        )
        .into_bytes();
        head.resize(1024, b' ');
        head
    };
    let seeds =
        vec![[head("pcm", 2, 16_000), ramp(800)].concat(), [head("ulaw", 1, 8_000), ramp(400)].concat()];
    let tokens: [&[u8]; 8] = [
        b"NIST_1A",
        b"-i ",
        b"-s3 ",
        b"pcm,embedded-shorten-v2.00",
        b"10",
        b"end_head",
        b"sample_rate",
        b"channels_interleaved",
    ];
    hear("sphere", "a.sph", seeds, &tokens, 1);
}

#[test]
fn caf() {
    let chunk = |name: &[u8; 4], content: &[u8]| -> Vec<u8> {
        [&name[..], &(content.len() as u64).to_be_bytes(), content].concat()
    };
    let desc = |coding: &[u8; 4], flags: u32, packet: u32, bits: u32| -> Vec<u8> {
        let numbers: Vec<u8> =
            [flags, packet, 1, 1, bits].iter().flat_map(|number| number.to_be_bytes()).collect();
        [&16_000.0_f64.to_be_bytes()[..], &coding[..], &numbers].concat()
    };
    let file = |desc: Vec<u8>, data: usize| -> Vec<u8> {
        let data = [&[0; 4][..], &ramp(data)].concat();
        [b"caff\0\x01\0\0".to_vec(), chunk(b"desc", &desc), chunk(b"data", &data)].concat()
    };
    let seeds = vec![file(desc(b"lpcm", 2, 2, 16), 800), file(desc(b"ulaw", 0, 1, 8), 400)];
    let tokens: [&[u8]; 8] = [b"caff", b"desc", b"data", b"pakt", b"kuki", b"lpcm", b"alac", b"aac "];
    hear("caf", "a.caf", seeds, &tokens, 1);
}

#[test]
fn w64() {
    let riff = b"riff\x2E\x91\xCF\x11\xA5\xD6\x28\xDB\x04\xC1\0\0";
    let tail = b"\xF3\xAC\xD3\x11\x8C\xD1\0\xC0\x4F\x8E\xDB\x8A";
    let chunk = |name: &[u8; 4], content: &[u8]| -> Vec<u8> {
        let length = 24 + content.len() as u64;
        let mut bytes = [&name[..], tail, &length.to_le_bytes(), content].concat();
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        bytes
    };
    let chunks = [chunk(b"fmt ", &format(1, 1, 16_000, 16, &[])), chunk(b"data", &ramp(800))].concat();
    let wave = [&b"wave"[..], tail].concat();
    let length = 40 + chunks.len() as u64;
    let file = [&riff[..], &length.to_le_bytes(), &wave, &chunks].concat();
    hear("w64", "a.w64", vec![file], &[b"fmt ", b"data", b"wave", tail], 1);
}

#[test]
fn m4a() {
    let tone = include_bytes!("../../src/audio/fixtures/tone.m4a").to_vec();
    let tokens: [&[u8]; 14] = [
        b"ftyp", b"moov", b"mdat", b"trak", b"stsz", b"stsc", b"stco", b"stts", b"esds", b"alac", b"mp4a",
        b"elst", b"free", b"moof",
    ];
    hear("m4a", "a.m4a", vec![tone], &tokens, 8);
}

#[test]
fn opus() {
    let tone = include_bytes!("../../src/audio/fixtures/tone.opus").to_vec();
    hear("opus", "a.opus", vec![tone], &[b"OggS", b"OpusHead", b"OpusTags"], 8);
}

#[test]
fn ogg_with_right_checksums() {
    // Pages have checksums, behind which mutations would not get.
    let seeds = [
        &include_bytes!("../../src/audio/fixtures/tone.ogg")[..],
        include_bytes!("../../src/audio/fixtures/tone.opus"),
    ];
    let seeds = seeds.map(<[u8]>::to_vec).to_vec();
    hear_as(
        "ogg_with_right_checksums",
        "a.ogg",
        seeds,
        &[b"OpusHead", b"BCV", b"\x05vorbis"],
        8,
        &sealed_pages,
    );
}

/// The bytes with the checksum that each page has to have.
fn sealed_pages(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let starts: Vec<usize> =
        bytes.windows(4).enumerate().filter(|(_, four)| four == b"OggS").map(|(at, _)| at).collect();
    for start in starts {
        let Some(&segments) = bytes.get(start + 26) else { break };
        let table = start + 27..start + 27 + usize::from(segments);
        let Some(lengths) = bytes.get(table.clone()) else { break };
        let end = table.end + lengths.iter().map(|&length| usize::from(length)).sum::<usize>();
        let Some(page) = bytes.get_mut(start..end) else { break };
        page[22..26].fill(0);
        let crc = page.iter().fold(0_u32, |crc, &byte| {
            (0..8).fold(crc ^ (u32::from(byte) << 24), |crc, _| (crc << 1) ^ ((crc >> 31) * 0x04C1_1DB7))
        });
        page[22..26].copy_from_slice(&crc.to_le_bytes());
    }
    bytes
}

#[test]
fn mp2() {
    // Frames of MPEG-1 layer II, 128 kbit/s at 48 kHz, without any sound.
    let mut frame = vec![0xFF, 0xFD, 0x84, 0xC4];
    frame.resize(384, 0);
    hear("mp2", "a.mp2", vec![frame.repeat(6)], &[b"\xFF\xFD\x84\xC4", b"\xFF\xF5", b"ID3"], 4);
}
