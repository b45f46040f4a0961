use std::path::PathBuf;

use hound::{SampleFormat, WavSpec, WavWriter};
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

const FLAC: &[u8] = include_bytes!("fixtures/tone.flac");
const OGG: &[u8] = include_bytes!("fixtures/tone.ogg");

fn file(folder: &TempDir, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.path().join(name);
    std::fs::write(&path, bytes).expect("a temporary file");
    path
}

fn wav(spec: WavSpec, write: impl Fn(&mut WavWriter<&mut std::io::Cursor<Vec<u8>>>)) -> Vec<u8> {
    let mut cursor = std::io::Cursor::new(Vec::new());
    let mut writer = WavWriter::new(&mut cursor, spec).expect("a header");
    write(&mut writer);
    writer.finalize().expect("in memory");
    cursor.into_inner()
}

fn spec(channels: u16, sample_rate: u32, bits_per_sample: u16, sample_format: SampleFormat) -> WavSpec {
    WavSpec { channels, sample_rate, bits_per_sample, sample_format }
}

fn error(path: &Path) -> String {
    let message = read(path).expect_err("a bad file").to_string();
    assert!(message.contains(&path.display().to_string()), "{message} does not name the file");
    message
}

fn sine_error(samples: &[f32], amplitude: f32) -> f32 {
    let sine = |i: usize| amplitude * (i as f32 * 440.0 / 16_000.0 * std::f32::consts::TAU).sin();
    (500..samples.len() - 500).map(|i| (samples[i] - sine(i)).abs()).fold(0.0, f32::max)
}

#[test]
fn integer_depths_are_exact() {
    let folder = TempDir::new().expect("a folder");
    for bits in [8u16, 16, 24, 32] {
        let top = 2f64.powi(i32::from(bits) - 1);
        let values = [0i32, 1, -1, (top - 1.0) as i32, -top as i32, (top / 3.0) as i32];
        let bytes = wav(spec(1, 16_000, bits, SampleFormat::Int), |w| {
            values.iter().for_each(|&v| w.write_sample(v).expect("in memory"));
        });
        let audio = read(file(&folder, "a.wav", &bytes)).expect("a wave");
        let expected: Vec<f32> = values.iter().map(|&v| (f64::from(v) / top) as f32).collect();
        assert_eq!(audio.samples, expected, "{bits} bits");
    }
}

#[test]
fn float_channels_are_averaged_and_rates_changed() {
    let folder = TempDir::new().expect("a folder");
    let bytes = wav(spec(2, 48_000, 32, SampleFormat::Float), |w| {
        for i in 0..48_000 {
            let x = (i as f32 * 440.0 / 48_000.0 * std::f32::consts::TAU).sin();
            w.write_sample(x).expect("in memory");
            w.write_sample(0.0f32).expect("in memory");
        }
    });
    let path = file(&folder, "a.wav", &bytes);
    let audio = read(&path).expect("a wave");
    assert_eq!((audio.samples.len(), audio.source_rate, audio.channels), (16_000, 48_000, 2));
    assert!(sine_error(&audio.samples, 0.5) < 1e-3);
    assert_eq!(duration(&path).expect("a header"), 1.0);
}

#[test]
fn flac_and_ogg_are_decoded_whatever_their_names() {
    let folder = TempDir::new().expect("a folder");
    let path = file(&folder, "a.mp3", FLAC);
    let flac = read(&path).expect("a wave");
    assert_eq!((flac.samples.len(), flac.source_rate, flac.channels), (8000, 8000, 2));
    assert!(sine_error(&flac.samples, 0.501) < 5e-3);
    assert_eq!(duration(&path).expect("a header"), 0.5);
    let path = file(&folder, "b.wav", OGG);
    let ogg = read(&path).expect("a wave");
    assert_eq!((ogg.samples.len(), ogg.source_rate), (4800, 22_050));
    assert!(sine_error(&ogg.samples, 0.501) < 0.05);
    assert_eq!(duration(&path).expect("decoded"), 0.3);
}

#[test]
fn mp3_is_decoded() {
    // MPEG-1 layer III, 128 kbit/s, 44.1 kHz, mono, no CRC: 417 bytes a frame; all zeros are silence.
    let mut frame = vec![0xFF, 0xFB, 0x90, 0xC0];
    frame.resize(417, 0);
    let folder = TempDir::new().expect("a folder");
    let audio = read(file(&folder, "a.bin", &frame.repeat(20))).expect("a wave");
    assert_eq!(audio.source_rate, 44_100);
    assert!((audio.seconds() - 20.0 * 1152.0 / 44_100.0).abs() < 0.05, "{}", audio.seconds());
    assert!(audio.samples.iter().all(|x| x.abs() < 1e-6));
}

#[test]
fn bad_files_are_named_errors() {
    let folder = TempDir::new().expect("a folder");
    assert!(error(&folder.path().join("absent.wav")).contains("cannot be read"));
    assert!(error(&file(&folder, "empty.wav", &[])).contains("empty"));
    assert!(error(&file(&folder, "text.wav", b"this is no audio at all")).contains("not audio"));
    let none = wav(spec(1, 16_000, 16, SampleFormat::Int), |_| ());
    assert!(error(&file(&folder, "none.wav", &none)).contains("no audio samples"));
    let whole = wav(spec(1, 16_000, 16, SampleFormat::Int), |w| {
        (0..1000i16).for_each(|i| w.write_sample(i).expect("in memory"));
    });
    assert!(error(&file(&folder, "cut.wav", &whole[..1000])).contains("cut short"));
    for (name, bad) in [("nan.wav", f32::NAN), ("inf.wav", f32::INFINITY)] {
        let bytes = wav(spec(1, 16_000, 32, SampleFormat::Float), |w| {
            [0.1, bad, 0.2].iter().for_each(|&x| w.write_sample(x).expect("in memory"));
        });
        assert!(error(&file(&folder, name, &bytes)).contains("sample 1 is"));
    }
    let slow = wav(spec(1, 1, 16, SampleFormat::Int), |w| w.write_sample(1i16).expect("in memory"));
    assert!(error(&file(&folder, "slow.wav", &slow)).contains("1 Hz"));
}

#[test]
fn a_truncated_or_damaged_flac_is_an_error_at_every_cut() {
    let folder = TempDir::new().expect("a folder");
    for cut in [4, 20, 42, 100, FLAC.len() / 2, FLAC.len() - 100, FLAC.len() - 1] {
        error(&file(&folder, "cut.flac", &FLAC[..cut]));
    }
    let mut damaged = FLAC.to_vec();
    let middle = damaged.len() - 200;
    damaged[middle] ^= 0x55;
    error(&file(&folder, "damaged.flac", &damaged));
    // STREAMINFO's 36-bit count of samples ends at byte 26.
    let mut long = FLAC.to_vec();
    long[21] |= 0x0F;
    assert!(error(&file(&folder, "long.flac", &long)).contains("hours"));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..Default::default() })]

    #[test]
    fn random_bytes_never_panic(kind in 0usize..5, tail in proptest::collection::vec(any::<u8>(), 0..600)) {
        let magic: &[u8] = [&b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0"[..], b"fLaC\0\0\0\x22", b"OggS\0\x02", b"ID3\x04", &[0xFF, 0xFB]][kind];
        let folder = TempDir::new().expect("a folder");
        let path = file(&folder, "random", &[magic, &tail].concat());
        let _ = (read(&path), duration(&path));
    }

    #[test]
    fn flipped_bytes_never_panic(at in 0usize..4000, value: u8, flac: bool) {
        let mut bytes = if flac { FLAC.to_vec() } else { OGG.to_vec() };
        let at = at % bytes.len();
        bytes[at] = value;
        let folder = TempDir::new().expect("a folder");
        let path = file(&folder, "flipped", &bytes);
        let _ = (read(&path), duration(&path));
    }
}
