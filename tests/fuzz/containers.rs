//! Further containers and codings of audio.

use super::audio::{chunk, format, fuzz_decode, fuzz_decode_as, ramp, riff};

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
    fuzz_decode("wav_of_other_codings", "a.wav", seeds, &tokens, 1);
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
    fuzz_decode("aiff", "a.aiff", seeds, &tokens, 1);
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
    fuzz_decode("au", "a.au", seeds, &[b".snd", b"\0\0\0\x1B", b"\0\0\0\x06", b"\0\0\0\x07"], 1);
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
    fuzz_decode("sphere", "a.sph", seeds, &tokens, 1);
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
    fuzz_decode("caf", "a.caf", seeds, &tokens, 1);
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
    fuzz_decode("w64", "a.w64", vec![file], &[b"fmt ", b"data", b"wave", tail], 1);
}

#[test]
fn m4a() {
    let tone = include_bytes!("../../src/audio/fixtures/tone.m4a").to_vec();
    let tokens: [&[u8]; 14] = [
        b"ftyp", b"moov", b"mdat", b"trak", b"stsz", b"stsc", b"stco", b"stts", b"esds", b"alac", b"mp4a",
        b"elst", b"free", b"moof",
    ];
    fuzz_decode("m4a", "a.m4a", vec![tone], &tokens, 8);
}

#[test]
fn opus() {
    let tone = include_bytes!("../../src/audio/fixtures/tone.opus").to_vec();
    fuzz_decode("opus", "a.opus", vec![tone], &[b"OggS", b"OpusHead", b"OpusTags"], 8);
}

#[test]
fn ogg_with_right_checksums() {
    // Pages have checksums, behind which mutations would not get.
    let seeds = [
        &include_bytes!("../../src/audio/fixtures/tone.ogg")[..],
        include_bytes!("../../src/audio/fixtures/tone.opus"),
    ];
    let seeds = seeds.map(<[u8]>::to_vec).to_vec();
    fuzz_decode_as(
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
    fuzz_decode("mp2", "a.mp2", vec![frame.repeat(6)], &[b"\xFF\xFD\x84\xC4", b"\xFF\xF5", b"ID3"], 4);
}

/// An element of EBML with a size of eight bytes.
fn element(id: &[u8], content: &[u8]) -> Vec<u8> {
    [id, &(1 << 56 | content.len() as u64).to_be_bytes(), content].concat()
}

/// A Matroska file of one track and the packets of one cluster.
fn mkv(codec: &[u8], private: &[u8], packets: &[&[u8]]) -> Vec<u8> {
    let header = [element(b"\x42\x82", b"matroska"), element(b"\x42\x87", &[4]), element(b"\x42\x85", &[2])];
    let info = [
        element(b"\x2A\xD7\xB1", &1_000_000_u32.to_be_bytes()),
        element(b"\x4D\x80", b"a"),
        element(b"\x57\x41", b"a"),
    ];
    let sound =
        [element(b"\xB5", &16_000_f64.to_be_bytes()), element(b"\x9F", &[1]), element(b"\x62\x64", &[16])];
    let track = [
        element(b"\xD7", &[1]),
        element(b"\x73\xC5", &[1]),
        element(b"\x83", &[2]),
        element(b"\x86", codec),
        element(b"\x63\xA2", private),
        element(b"\xE1", &sound.concat()),
    ];
    let blocks = packets.iter().enumerate().map(|(number, packet)| {
        element(b"\xA3", &[&[0x81, 0, 20 * number as u8, 0x80][..], packet].concat())
    });
    let cluster = [element(b"\xE7", &[0]), blocks.collect::<Vec<_>>().concat()].concat();
    let segment = [
        element(b"\x15\x49\xA9\x66", &info.concat()),
        element(b"\x16\x54\xAE\x6B", &element(b"\xAE", &track.concat())),
        element(b"\x1F\x43\xB6\x75", &cluster),
    ];
    [element(b"\x1A\x45\xDF\xA3", &header.concat()), element(b"\x18\x53\x80\x67", &segment.concat())].concat()
}

#[test]
fn matroska() {
    // Of one channel; three packets of silence.
    let head = [&b"OpusHead\x01\x01\0\0"[..], &48_000_u32.to_le_bytes(), &[0; 3]].concat();
    let (samples, silence) = (ramp(640), [0xF8, 0xFF, 0xFE]);
    let seeds =
        vec![mkv(b"A_PCM/INT/LIT", &[], &[&samples, &samples]), mkv(b"A_OPUS", &head, &[&silence[..]; 3])];
    let tokens: [&[u8]; 12] = [
        b"\x1A\x45\xDF\xA3",
        b"\x18\x53\x80\x67",
        b"\x1F\x43\xB6\x75",
        b"\xA0",
        b"\xA1",
        b"\xA3",
        b"\xEC",
        b"\x1C\x53\xBB\x6B",
        b"A_VORBIS",
        b"A_FLAC",
        b"A_AAC",
        b"\x01\xFF\xFF\xFF\xFF\xFF\xFF\xFF",
    ];
    fuzz_decode("matroska", "a.mkv", seeds, &tokens, 4);
}

/// The AAC frames of an MP4 file, by its table of sizes.
fn aac_frames() -> Vec<Vec<u8>> {
    let file = include_bytes!("../../src/audio/fixtures/tone.m4a");
    let after = |name: &[u8]| file.windows(4).position(|four| four == name).unwrap() + 4;
    let number = |at: usize| u32::from_be_bytes(file[at..at + 4].try_into().unwrap()) as usize;
    let (sizes, mut at) = (after(b"stsz"), after(b"mdat"));
    let frames = (0..number(sizes + 8)).map(|frame| {
        let length = number(sizes + 12 + 4 * frame);
        at += length;
        file[at - length..at].to_vec()
    });
    frames.collect()
}

#[test]
fn adts() {
    let file = |frames: &[Vec<u8>]| -> Vec<u8> {
        let framed = frames.iter().map(|frame| {
            let length = frame.len() + 7;
            // AAC-LC of one channel at 16 kHz.
            let head = [0xFF, 0xF1, 0x60, 0x40 | (length >> 11) as u8, (length >> 3) as u8];
            [&head[..], &[(length << 5) as u8 | 0x1F, 0xFC], frame].concat()
        });
        framed.collect::<Vec<_>>().concat()
    };
    let silence = vec![vec![0, 0, 0, 7]; 6];
    let seeds = vec![file(&aac_frames()), file(&silence)];
    fuzz_decode("adts", "a.aac", seeds, &[b"\xFF\xF1", b"\xFF\xF9", b"\xFF\xF0", b"ID3", b"TAG"], 8);
}

/// Packets of ALAC whose samples are stored as they are.
#[test]
fn alac() {
    const FRAMES: usize = 64;
    let mut bits = String::from("000 0000 000000000000 0 00 1").replace(' ', "");
    ramp(2 * FRAMES).iter().for_each(|byte| bits.push_str(&format!("{byte:08b}")));
    bits.push_str("111");
    let bytes = bits
        .as_bytes()
        .chunks(8)
        .map(|byte| byte.iter().enumerate().fold(0, |value, (at, &bit)| value | (bit - b'0') << (7 - at)));
    let packet: Vec<u8> = bytes.collect();
    let chunk = |name: &[u8; 4], content: &[u8]| -> Vec<u8> {
        [&name[..], &(content.len() as u64).to_be_bytes(), content].concat()
    };
    let numbers =
        |numbers: &[u32]| numbers.iter().flat_map(|number| number.to_be_bytes()).collect::<Vec<u8>>();
    let desc = [&16_000_f64.to_be_bytes()[..], b"alac", &numbers(&[1, 0, FRAMES as u32, 1, 0])].concat();
    // Frames of a packet; version, bits, three constants, channels; longest run; largest packet, bits a second, rate.
    let kuki = [&numbers(&[FRAMES as u32])[..], &[0, 16, 40, 10, 14, 1, 0, 255], &numbers(&[0, 0, 16_000])];
    let sizes = [&6_u64.to_be_bytes()[..], &(6 * FRAMES as u64).to_be_bytes(), &[0; 8]].concat();
    let pakt = [sizes, [0x80 | (packet.len() >> 7) as u8, packet.len() as u8 & 0x7F].repeat(6)].concat();
    let file = [
        b"caff\0\x01\0\0".to_vec(),
        chunk(b"desc", &desc),
        chunk(b"kuki", &kuki.concat()),
        chunk(b"pakt", &pakt),
        chunk(b"data", &[vec![0; 4], packet.repeat(6)].concat()),
    ];
    fuzz_decode(
        "alac",
        "a.caf",
        vec![file.concat()],
        &[b"desc", b"kuki", b"pakt", b"data", b"alac", b"frma"],
        4,
    );
}
