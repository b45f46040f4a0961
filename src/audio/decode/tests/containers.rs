//! Samples that lie in a file one after the other: every container, coding and odd header.

use super::bytes::{chunks_big, pcm16_big};
use super::*;

fn rf64(data: &[u8], declared: u64) -> Vec<u8> {
    let sizes = [[0; 8], declared.to_le_bytes(), (declared / 2).to_le_bytes(), [0; 8]].concat();
    let body = chunks(&[(b"ds64", &sizes[..28]), (b"fmt ", &format(1, 1, 16_000, 2, 16))]);
    [b"RF64\xFF\xFF\xFF\xFFWAVE", &body[..], b"data\xFF\xFF\xFF\xFF", data].concat()
}

fn wave64(data: &[u8]) -> Vec<u8> {
    let guid = |name: &[u8; 4]| [&name[..], b"\xF3\xAC\xD3\x11\x8C\xD1\x00\xC0\x4F\x8E\xDB\x8A"].concat();
    let head = [b"riff\x2E\x91\xCF\x11\xA5\xD6\x28\xDB\x04\xC1\0\0", &[0u8; 8][..], &guid(b"wave")].concat();
    let format = [&guid(b"fmt ")[..], &40u64.to_le_bytes(), &format(1, 1, 16_000, 2, 16)].concat();
    [head, format, guid(b"data"), (24 + data.len() as u64).to_le_bytes().to_vec(), data.to_vec()].concat()
}

fn aiff(kind: &[u8; 4], codec: &[u8], bits: u16, data: &[u8]) -> Vec<u8> {
    let frames = (data.len() / usize::from(bits / 8)) as u32;
    let rate = [0x40, 0x0C, 0xFA, 0, 0, 0, 0, 0, 0, 0];
    let common = [&[0, 1][..], &frames.to_be_bytes(), &bits.to_be_bytes(), &rate, codec].concat();
    let sound = [&[0; 8], data].concat();
    let body = chunks_big(&[(b"COMM", &common), (b"SSND", &sound)]);
    [b"FORM", &(body.len() as u32 + 4).to_be_bytes()[..], kind, &body].concat()
}

fn au(encoding: u32, size: u32, data: &[u8]) -> Vec<u8> {
    let words = [28, size, encoding, 16_000, 1, 0].map(u32::to_be_bytes).concat();
    [b".snd", &words[..], data].concat()
}

fn sphere(order: &str, count: usize, data: &[u8]) -> Vec<u8> {
    let mut header = format!(
        "NIST_1A\n   1024\nsample_count -i {count}\nsample_rate -i 16000\nchannel_count -i 1\nsample_n_bytes -i 2\n\
         sample_byte_format -s2 {order}\nsample_coding -s3 pcm\nend_head\n"
    )
    .into_bytes();
    header.resize(1024, b' ');
    [header, data.to_vec()].concat()
}

fn caf(codec: &[u8; 4], flags: u32, bytes: u32, size: i64, data: &[u8]) -> Vec<u8> {
    let words = [flags, bytes, 1, 1, 8 * bytes].map(u32::to_be_bytes).concat();
    let description = [&16_000f64.to_be_bytes()[..], codec, &words].concat();
    let head = |name: &[u8; 4], size: i64| [&name[..], &size.to_be_bytes()].concat();
    let edits = [0; 4];
    [&b"caff\0\x01\0\0"[..], &head(b"desc", 32), &description, &head(b"data", size), &edits, data].concat()
}

/// The same six samples in every form.
pub fn all() -> Vec<(&'static str, Vec<u8>)> {
    let (little, big) = (pcm16(&SAMPLES), pcm16_big(&SAMPLES));
    let wide = |bytes: usize| -> Vec<u8> {
        SAMPLES.iter().flat_map(|x| [vec![0; bytes - 2], x.to_le_bytes().to_vec()].concat()).collect()
    };
    let float: Vec<u8> = expected().iter().flat_map(|x| x.to_le_bytes()).collect();
    let double: Vec<u8> = expected().iter().flat_map(|&x| f64::from(x).to_le_bytes()).collect();
    let wave = |format: &[u8], data: &[u8]| riff(&[(b"fmt ", format), (b"data", data)]);
    let big_format = {
        let mut bytes = [1u16.to_be_bytes(), 1u16.to_be_bytes()].concat();
        bytes.extend([16_000u32, 32_000].map(u32::to_be_bytes).concat());
        bytes.extend([2u16, 16].map(u16::to_be_bytes).concat());
        bytes
    };
    let big_chunks = chunks_big(&[(b"fmt ", &big_format), (b"data", &big)]);
    vec![
        ("16 bits", wav(1, 16_000, &little)),
        ("24 bits", wave(&format(1, 1, 16_000, 3, 24), &wide(3))),
        ("32 bits", wave(&format(1, 1, 16_000, 4, 32), &wide(4))),
        ("12 bits in 16", wave(&format(1, 1, 16_000, 2, 12), &little)),
        ("20 bits in 24", wave(&format(1, 1, 16_000, 3, 20), &wide(3))),
        ("24 bits in 32", wave(&extended(1, 1, 16_000, 4, 24), &wide(4))),
        ("16 bits in 32", wave(&extended(1, 1, 16_000, 4, 16), &wide(4))),
        ("20 bits in 24, extended", wave(&extended(1, 1, 16_000, 3, 20), &wide(3))),
        ("f32", wave(&format(3, 1, 16_000, 4, 32), &float)),
        ("f32, extended", wave(&extended(3, 1, 16_000, 4, 32), &float)),
        ("f64", wave(&format(3, 1, 16_000, 8, 64), &double)),
        ("RIFX", [b"RIFX", &(big_chunks.len() as u32 + 4).to_be_bytes()[..], b"WAVE", &big_chunks].concat()),
        ("RF64", rf64(&little, 12)),
        ("RF64 of a pipe", rf64(&little, 0)),
        ("W64", wave64(&little)),
        ("AIFF", aiff(b"AIFF", b"", 16, &big)),
        ("AIFF-C", aiff(b"AIFC", b"NONE\0\0", 16, &big)),
        ("AIFF-C, little-endian", aiff(b"AIFC", b"sowt\0\0", 16, &little)),
        (
            "AIFF-C, f32",
            aiff(
                b"AIFC",
                b"fl32\0\0",
                32,
                &float.as_chunks().0.iter().flat_map(|&[a, b, c, d]| [d, c, b, a]).collect::<Vec<_>>(),
            ),
        ),
        ("AU", au(3, 12, &big)),
        ("AU of a pipe", au(3, u32::MAX, &big)),
        ("SPHERE", sphere("01", 6, &little)),
        ("SPHERE, big-endian", sphere("10", 6, &big)),
        ("CAF", caf(b"lpcm", 0, 2, 16, &big)),
        ("CAF, little-endian, open", caf(b"lpcm", 2, 2, -1, &little)),
        ("CAF, f32", caf(b"lpcm", 3, 4, 28, &float)),
    ]
}

#[test]
fn every_container_holds_the_same_samples() {
    for (name, bytes) in all() {
        let audio = decoded(&bytes);
        assert_eq!((audio.samples, audio.source_rate, audio.channels), (expected(), 16_000, 1), "{name}");
        assert!(audio.notes.is_empty(), "{name}: {:?}", audio.notes);
        assert_eq!(memory(&bytes).duration().expect(name), 6.0 / 16_000.0, "{name}");
    }
}

#[test]
fn eight_bits_and_companded_samples() {
    let wave = |tag: u16, data: &[u8]| riff(&[(b"fmt ", &format(tag, 1, 16_000, 1, 8)), (b"data", data)]);
    assert_eq!(decoded(&wave(1, &[128, 192, 0])).samples, [0.0, 0.5, -1.0]);
    assert_eq!(decoded(&wave(7, &[0x80, 0xFF])).samples, [32_124.0 / 32_768.0, 0.0]);
    assert_eq!(decoded(&wave(6, &[0xAA, 0x55])).samples, [32_256.0 / 32_768.0, -8.0 / 32_768.0]);
    assert_eq!(decoded(&aiff(b"AIFC", b"raw \0\0", 8, &[128, 192])).samples, [0.0, 0.5]);
    assert_eq!(decoded(&au(1, 2, &[0x80, 0xFF])).samples, [32_124.0 / 32_768.0, 0.0]);
    assert_eq!(
        decoded(&caf(b"alaw", 0, 1, 6, &[0xAA, 0x55])).samples,
        [32_256.0 / 32_768.0, -8.0 / 32_768.0]
    );
}

#[test]
fn chunks_of_any_order_and_size() {
    let (fmt, data) = (format(1, 1, 16_000, 2, 16), pcm16(&SAMPLES));
    let list: &[u8] = b"INFOISFT\x05\0\0\0Lavf\0";
    let odd = riff(&[(b"LIST", list), (b"fmt ", &fmt), (b"JUNK", &[7]), (b"data", &data), (b"id3 ", b"ID3")]);
    assert_eq!(decoded(&odd).samples, expected());
    // The same without the pad bytes that the format asks for.
    let chunk = |name: &[u8; 4], data: &[u8]| [name, &(data.len() as u32).to_le_bytes()[..], data].concat();
    let body =
        [chunk(b"LIST", list), chunk(b"fmt ", &fmt), chunk(b"abcd", &[7]), chunk(b"data", &data)].concat();
    assert_eq!(decoded(&[b"RIFF\0\x01\0\0WAVE", &body[..]].concat()).samples, expected());
    // Samples before their format, and in two chunks.
    assert_eq!(decoded(&riff(&[(b"data", &data), (b"fmt ", &fmt)])).samples, expected());
    let two = riff(&[(b"fmt ", &fmt), (b"data", &data), (b"LIST", list), (b"data", &data)]);
    assert_eq!(decoded(&two).samples, [expected(), expected()].concat());
}

#[test]
fn sizes_that_a_pipe_could_not_know() {
    let whole = wav(1, 16_000, &pcm16(&SAMPLES));
    for size in [0u32, u32::MAX, u32::MAX - 36, 0x7FFF_F000, 0x7FFF_FFFF, 0x8000_0000] {
        for form in [size, 48] {
            let mut bytes = whole.clone();
            bytes[4..8].copy_from_slice(&form.to_le_bytes());
            bytes[40..44].copy_from_slice(&size.to_le_bytes());
            assert_eq!(decoded(&bytes).samples, expected(), "{size:#x}");
            bytes.push(9);
            assert_eq!(decoded(&bytes).samples, expected(), "{size:#x}, half a sample more");
        }
    }
    // No samples at all, but a chunk, are none.
    let fmt = format(1, 1, 16_000, 2, 16);
    let empty = riff(&[(b"fmt ", &fmt), (b"data", &[]), (b"LIST", b"INFO")]);
    assert!(refused(&empty).contains("no audio samples"));
    let junk = [whole, vec![0; 400]].concat();
    let audio = decoded(&junk);
    assert_eq!(audio.samples, expected());
    assert!(audio.notes[0].contains("400 bytes"), "{:?}", audio.notes);
}

#[test]
fn samples_that_are_missing_are_named() {
    let samples = [100i16; 400];
    for bytes in [
        wav(1, 16_000, &pcm16(&samples)),
        rf64(&pcm16(&samples), 800),
        wave64(&pcm16(&samples)),
        aiff(b"AIFF", b"", 16, &pcm16(&samples)),
        au(3, 800, &pcm16(&samples)),
        sphere("01", 400, &pcm16(&samples)),
        caf(b"lpcm", 0, 2, 804, &pcm16(&samples)),
    ] {
        assert_eq!(decoded(&bytes).samples.len(), 400);
        let message = refused(&bytes[..bytes.len() - 400]);
        assert!(message.contains("cut short: its header says 0.03 s, it holds 0.01 s"), "{message}");
    }
}

#[test]
fn adpcm_has_the_samples_of_other_decoders() {
    let hex = |text: &str| -> Vec<u8> {
        let digits: Vec<u32> = text.chars().filter_map(|c| c.to_digit(16)).collect();
        digits.chunks_exact(2).map(|pair| (pair[0] * 16 + pair[1]) as u8).collect()
    };
    let wave = |tag: u16, extra: &[u16], samples: u32, data: &[u8]| {
        let mut fmt = format(tag, 1, 16_000, 32, 4);
        fmt.extend((2 * extra.len() as u16).to_le_bytes());
        fmt.extend(extra.iter().flat_map(|x| x.to_le_bytes()));
        riff(&[(b"fmt ", &fmt), (b"fact", &samples.to_le_bytes()), (b"data", data)])
    };
    // A sine of 440 Hz at 8 kHz, and what libsndfile and sox make of it.
    let ima = hex("00000000777777 77cdbb093145431288cbbcac8921444312 80cabcac992163 33");
    let head =
        [0, 11, 41, 104, 240, 533, 1164, 2521, 5431, 858, -4621, -9777, -14_464, -16_289, -15_736, -14_227];
    let scaled = |samples: &[i16]| samples.iter().map(|&x| f32::from(x) / 32_768.0).collect::<Vec<_>>();
    let audio = decoded(&wave(0x11, &[57], 57, &ima));
    assert_eq!(audio.samples.len(), 57);
    assert_eq!(audio.samples[..16], scaled(&head));
    assert_eq!(decoded(&wave(0x11, &[57], 20, &ima)).samples.len(), 20);
    let microsoft = hex("0010 00ac15 0000 777 77fccceee013534 3311edbcddde0136343221fdbdbeeef1");
    let head =
        [0, 5548, 5660, 5926, 6563, 8089, 11_743, 10_492, 6000, 616, -5840, -9710, -13_186, -16_308, -16_308];
    let audio = decoded(&wave(2, &[52, 0], 52, &microsoft));
    assert_eq!(audio.samples.len(), 52);
    assert_eq!(audio.samples[..15], scaled(&head));
}
