mod bytes;
mod containers;
mod streams;
mod views;

use std::path::{Path, PathBuf};

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::audio::recording::{Place, Span};
use bytes::{chunks, extended, format, pcm16, riff, wav};

const FLAC: &[u8] = include_bytes!("../../fixtures/tone.flac");
const OGG: &[u8] = include_bytes!("../../fixtures/tone.ogg");
const OPUS: &[u8] = include_bytes!("../../fixtures/tone.opus");
const M4A: &[u8] = include_bytes!("../../fixtures/tone.m4a");

fn file(folder: &TempDir, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).expect("a temporary file");
    path
}

/// A recording in memory, which is decoded by the same code as a file.
fn memory(bytes: &[u8]) -> Recording {
    let place = Place::Memory { name: "audio".into(), bytes: bytes.into() };
    Recording { place, span: None, channel: Channel::Mix }
}

fn decoded(bytes: &[u8]) -> Audio {
    memory(bytes).read().unwrap_or_else(|error| panic!("{error}"))
}

fn refused(bytes: &[u8]) -> String {
    let message = memory(bytes).read().expect_err("bad audio").to_string();
    assert!(message.starts_with("audio: "), "{message} does not name the file");
    message
}

/// Samples that no two formats confuse: signs, ends and small steps.
const SAMPLES: [i16; 6] = [0, 256, -256, 32_512, -32_768, 8448];

fn expected() -> Vec<f32> {
    SAMPLES.iter().map(|&sample| f32::from(sample) / 32_768.0).collect()
}

/// The largest error against a sine of 440 Hz, whatever its phase; ends are not looked at.
fn sine_error(samples: &[f32], amplitude: f32) -> f32 {
    let angle = |i: usize| (i as f32 * 440.0 / 16_000.0 * std::f32::consts::TAU).sin_cos();
    let range = 500..samples.len() - 500;
    // 400 samples are eleven periods.
    let (mut sine, mut cosine) = (0.0, 0.0);
    for i in range.clone().take(400) {
        sine += samples[i] * angle(i).0 / 200.0;
        cosine += samples[i] * angle(i).1 / 200.0;
    }
    assert!((sine.hypot(cosine) - amplitude).abs() < 0.02 * amplitude, "amplitude {}", sine.hypot(cosine));
    let error = |i: usize| (samples[i] - sine * angle(i).0 - cosine * angle(i).1).abs();
    range.map(error).fold(0.0, f32::max)
}

#[test]
fn bad_files_are_named_errors() {
    let folder = TempDir::new().expect("a folder");
    let error = |path: &Path| {
        let message = read(path).expect_err("a bad file").to_string();
        assert!(message.contains(&path.display().to_string()), "{message} does not name the file");
        message
    };
    assert!(error(&folder.path().join("absent.wav")).contains("cannot be read"));
    assert!(error(folder.path()).contains("is a folder"));
    assert!(error(&file(&folder, "empty.wav", &[])).contains("empty"));
    assert!(error(&file(&folder, "text.wav", b"this is no audio at all")).contains("not audio"));
    assert!(refused(&wav(1, 16_000, &[])).contains("no audio samples"));
    let whole = wav(1, 16_000, &pcm16(&[100; 1000]));
    assert!(refused(&whole[..1000]).contains("cut short: its header says 0.06 s, it holds 0.03 s"));
    assert!(refused(&whole[..30]).contains("`fmt ` chunk"));
    assert!(refused(&whole[..40]).contains("`data` chunk"));
    assert!(refused(&wav(1, 1, &pcm16(&[1, 2]))).contains("1 Hz"));
    assert!(refused(&wav(1, 48_000, &pcm16(&[1000]))).contains("holds 1 sample at 48000 Hz"));
    assert!(refused(&wav(0, 16_000, &pcm16(&[1000]))).contains("no channels"));
}

#[test]
fn other_files_are_named_with_the_remedy() {
    for (bytes, name) in [
        (&b"\x30\x26\xB2\x75\x8E\x66\xCF\x11\xA6\xD9"[..], "WMA"),
        (b"#!AMR\n\x3C\x48\xF5", "AMR"),
        (b"wvpk\x20\0\0\0", "WavPack"),
        (b"MAC \x96\x0F", "Monkey's Audio"),
        (b"RIFF\x10\0\0\0AVI LIST", "AVI video"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "git lfs pull"),
        (b"<!DOCTYPE html><html>", "HTML"),
        (b"\x1F\x8B\x08\0\0\0\0\0", "gzip"),
        (b"\x89PNG\r\n\x1A\n", "PNG"),
    ] {
        let message = refused(bytes);
        assert!(message.contains(name), "{message}");
    }
    let shorten =
        "sample_count -i 4\nsample_rate -i 16000\nsample_coding -s26 pcm,embedded-shorten-v2.00\nend_head\n";
    let sphere = format!("NIST_1A\n   1024\n{shorten}");
    assert!(refused(sphere.as_bytes()).contains("sph2pipe"), "{}", refused(sphere.as_bytes()));
    let gsm = riff(&[(b"fmt ", &format(0x31, 1, 8000, 65, 0)), (b"data", &[0; 65])]);
    assert!(refused(&gsm).contains("GSM 6.10"));
}

#[test]
fn what_is_no_waveform_is_refused() {
    let float = |samples: &[f32]| {
        let data: Vec<u8> = samples.iter().flat_map(|x| x.to_le_bytes()).collect();
        riff(&[(b"fmt ", &format(3, 1, 16_000, 4, 32)), (b"data", &data)])
    };
    assert!(refused(&float(&[0.1, f32::NAN, 0.2])).contains("NaN as sample 1"));
    assert!(refused(&float(&[0.1, 0.2, f32::INFINITY])).contains("inf as sample 2"));
    assert!(refused(&float(&[-102.4, 1200.5])).contains("16-bit integers"));
    assert!(refused(&float(&[0.1, 1e30])).contains("1e30"));
    assert_eq!(decoded(&float(&[0.1, 1.75, -2.5])).samples, [0.1, 1.75, -2.5]);
}

#[test]
fn names_of_audio() {
    for name in ["a.wav", "A.FLAC", "b.opus", "c.m4a", "d.sph", "e.aif", "f.webm", "g.au", "h.mp2"] {
        assert!(is_audio_name(Path::new(name)) && looks_like_audio(Path::new(name)), "{name}");
    }
    for name in ["a.wma", "b.AMR", "c.ape", "d.wv"] {
        assert!(!is_audio_name(Path::new(name)) && looks_like_audio(Path::new(name)), "{name}");
    }
    for name in ["a.txt", "wav", "b.json", ".wav"] {
        assert!(!looks_like_audio(Path::new(name)), "{name}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..Default::default() })]

    #[test]
    fn random_bytes_never_panic(kind in 0usize..13, tail in proptest::collection::vec(any::<u8>(), 0..600)) {
        let magic: &[u8] = [
            &b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0"[..], b"fLaC\0\0\0\x22", b"OggS\0\x02", b"ID3\x04", &[0xFF, 0xFB],
            b"FORM\0\0\0\0AIFFCOMM\0\0\0\x12", b".snd\0\0\0\x18", b"NIST_1A\n   1024\n", b"caff\0\x01\0\0desc",
            b"\0\0\0\x10ftypM4A ", b"\x1A\x45\xDF\xA3", b"riff\x2E\x91\xCF\x11", &[0xFF, 0xF1],
        ][kind];
        let recording = memory(&[magic, &tail].concat());
        let _ = (recording.read(), recording.duration());
    }

    #[test]
    fn flipped_bytes_never_panic(at in 0usize..4000, value: u8, kind in 0usize..5) {
        let containers = containers::all();
        let (index, other) = (at % containers.len(), containers.len());
        let mut bytes = [FLAC, OGG, OPUS, M4A, containers[index.min(other - 1)].1.as_slice()][kind].to_vec();
        let at = at % bytes.len();
        bytes[at] = value;
        let mut recording = memory(&bytes);
        let _ = (recording.read(), recording.duration());
        recording.span = Some(Span { start: 0.05, seconds: Some(0.1) });
        let _ = recording.read();
    }
}
