//! Compressed audio, whole and in odd forms.

use super::*;

/// MPEG-1 layer III, 128 kbit/s, 44.1 kHz, mono, no CRC: 417 bytes a frame; all zeros are silence.
fn frame() -> Vec<u8> {
    let mut frame = vec![0xFF, 0xFB, 0x90, 0xC0];
    frame.resize(417, 0);
    frame
}

/// A frame that says how many come, and how many samples at both ends are the encoder's.
fn info(frames: u32, delay: u32, padding: u32) -> Vec<u8> {
    let mut bytes = frame();
    bytes[21..25].copy_from_slice(b"Xing");
    bytes[28] = 1;
    bytes[29..33].copy_from_slice(&frames.to_be_bytes());
    bytes[33..42].copy_from_slice(b"LAME3.100");
    let both = (delay << 12 | padding).to_be_bytes();
    bytes[54..57].copy_from_slice(&both[1..]);
    bytes
}

fn frames_of(audio: &Audio) -> f64 {
    (audio.seconds() * 44_100.0 / 1152.0 * 1000.0).round() / 1000.0
}

#[test]
fn the_formats_of_the_fixtures() {
    let flac = decoded(FLAC);
    assert_eq!((flac.samples.len(), flac.source_rate, flac.channels), (8000, 8000, 2));
    assert!(sine_error(&flac.samples, 0.501) < 5e-3);
    assert_eq!(memory(FLAC).duration().expect("a header"), 0.5);
    let ogg = decoded(OGG);
    assert_eq!((ogg.samples.len(), ogg.source_rate), (4800, 22_050));
    assert!(sine_error(&ogg.samples, 0.501) < 0.05);
    assert_eq!(memory(OGG).duration().expect("decoded"), 0.3);
    // Both encoders begin with samples of their own, which are left out.
    let opus = decoded(OPUS);
    assert_eq!((opus.samples.len(), opus.source_rate, opus.channels), (4800, 48_000, 1));
    assert!(sine_error(&opus.samples, 0.5) < 0.05);
    let aac = decoded(M4A);
    assert_eq!((aac.samples.len(), aac.source_rate, aac.channels), (4800, 16_000, 1));
    assert!(sine_error(&aac.samples, 0.488) < 0.06);
}

#[test]
fn a_truncated_or_damaged_flac_is_an_error_at_every_cut() {
    for cut in [4, 20, 42, 100, FLAC.len() / 2, FLAC.len() - 100, FLAC.len() - 1] {
        refused(&FLAC[..cut]);
    }
    let mut damaged = FLAC.to_vec();
    let middle = damaged.len() - 200;
    damaged[middle] ^= 0x55;
    refused(&damaged);
    // STREAMINFO's 36-bit count of samples ends at byte 26.
    let mut long = FLAC.to_vec();
    long[21] |= 0x0F;
    assert!(refused(&long).contains("hours"));
}

#[test]
fn flac_with_tags_and_odd_headers_is_whole() {
    let whole = decoded(FLAC).samples;
    let tag = [&b"TAG"[..], &[b' '; 125]].concat();
    let ape = [&b"APETAGEX\xD0\x07\0\0\x20\0\0\0\0\0\0\0\0\0\0\0"[..], &[0; 8]].concat();
    let id3 = [&b"ID3\x04\0\0\0\0\0\x0A"[..], &[0; 10]].concat();
    for bytes in [
        [FLAC, &tag].concat(),
        [FLAC, &ape].concat(),
        [FLAC, &ape, &tag].concat(),
        [&id3[..], FLAC].concat(),
        [&id3[..], &id3, FLAC, &tag].concat(),
    ] {
        assert_eq!(decoded(&bytes).samples, whole);
        assert_eq!(memory(&bytes).duration().expect("a header"), 0.5);
    }
    // The smallest block as 0, or as the last one's; and no count of samples.
    for least in [0u16, 20, 512] {
        let mut bytes = FLAC.to_vec();
        bytes[8..10].copy_from_slice(&least.to_be_bytes());
        assert_eq!(decoded(&bytes).samples, whole, "{least}");
    }
    let mut bytes = FLAC.to_vec();
    bytes[21] &= 0xF0;
    bytes[22..26].fill(0);
    assert_eq!(decoded(&bytes).samples, whole);
    assert_eq!(memory(&bytes).duration().expect("decoded"), 0.5);
    // Without a checksum either, a cut shows in the last frame.
    bytes[26..42].fill(0);
    assert_eq!(decoded(&bytes).samples, whole);
    assert!(refused(&bytes[..bytes.len() - 100]).contains("cut short"));
}

#[test]
fn links_of_a_chain_follow_each_other() {
    let (vorbis, opus) = (decoded(OGG).samples, decoded(OPUS).samples);
    let chained = decoded(&[OGG, OPUS, OGG].concat());
    assert_eq!(chained.samples, [&vorbis[..], &opus, &vorbis].concat());
    assert_eq!(memory(&[OGG, OGG].concat()).duration().expect("decoded"), 0.6);
}

#[test]
fn cut_and_damaged_streams_are_named() {
    for (name, bytes) in [("Vorbis", OGG), ("Opus", OPUS)] {
        let message = refused(&bytes[..bytes.len() - 20]);
        assert!(message.contains("cut short"), "{name}: {message}");
        let mut damaged = bytes.to_vec();
        let at = damaged.len() - 100;
        damaged[at] ^= 0x10;
        refused(&damaged);
    }
    assert!(refused(&M4A[..M4A.len() / 2]).contains("cut short"));
}

#[test]
fn mp3_is_decoded_and_its_ends_left_out() {
    let plain = decoded(&frame().repeat(20));
    assert_eq!((plain.source_rate, plain.channels), (44_100, 1));
    assert_eq!(frames_of(&plain).round(), 20.0);
    assert!(plain.samples.iter().all(|x| x.abs() < 1e-6));
    // 529 samples are the decoder's own: 1152 in all at each end.
    let info = info(20, 1152 - 529, 1152 + 529);
    let gapless = [&info[..], &frame().repeat(20)].concat();
    assert!((frames_of(&decoded(&gapless)) - 18.0).abs() < 0.01, "{}", frames_of(&decoded(&gapless)));
    assert!((memory(&gapless).duration().expect("counted") - 18.0 * 1152.0 / 44_100.0).abs() < 1e-9);
    // After another, each has its own ends.
    let twice = [&gapless[..], &gapless].concat();
    assert!((frames_of(&decoded(&twice)) - 36.0).abs() < 0.01);
    let other = [&gapless[..], &frame().repeat(20)].concat();
    assert!((frames_of(&decoded(&other)) - 38.0).abs() < 0.01, "{}", frames_of(&decoded(&other)));
}

#[test]
fn mp3_among_tags_and_junk() {
    let (id3, tag) =
        ([&b"ID3\x04\0\0\0\0\0\x0A"[..], &[0; 10]].concat(), [&b"TAG"[..], &[b' '; 125]].concat());
    let frames = frame().repeat(10);
    for bytes in [
        [&id3[..], &frames, &tag].concat(),
        [&vec![0; 1000][..], &frames].concat(),
        [&frames[..], &[0; 300]].concat(),
        [&frames[..4170], &id3, &frames[..0]].concat(),
    ] {
        assert_eq!(frames_of(&decoded(&bytes)).round(), 10.0);
    }
    let between = [&frames[..], &tag, &id3, &[1, 2, 3], &frames].concat();
    assert_eq!(frames_of(&decoded(&between)).round(), 20.0);
}

#[test]
fn a_cut_mp3_is_named() {
    let frames = frame().repeat(20);
    assert!(refused(&frames[..frames.len() - 100]).contains("middle of a frame"));
    let counted = [&info(40, 576, 1000)[..], &frames].concat();
    let message = refused(&counted);
    assert!(message.contains("its header says 1.04 s, it holds 0.52 s"), "{message}");
    assert!(memory(&counted).duration().is_err());
}
