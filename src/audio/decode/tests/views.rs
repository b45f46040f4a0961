//! Parts, channels and places of recordings.

use std::sync::Arc;

use super::*;

fn span(bytes: &[u8], start: f64, seconds: Option<f64>) -> Result<Audio> {
    Recording { span: Some(Span { start, seconds }), ..memory(bytes) }.read()
}

/// A waveform that repeats nowhere.
fn chirp(samples: usize) -> Vec<i16> {
    (0..samples).map(|i| (9000.0 * ((i as f64).powf(1.4) * 0.01).sin()) as i16).collect()
}

#[test]
fn parts_are_what_a_cut_of_the_whole_is() {
    let plain = wav(1, 16_000, &pcm16(&chirp(16_000)));
    let whole = decoded(&plain).samples;
    for (start, end) in [(0usize, 160usize), (1, 2), (4000, 12_000), (15_999, 16_000)] {
        let part = span(&plain, start as f64 / 16e3, Some((end - start) as f64 / 16e3)).expect("a part");
        assert_eq!(part.samples, whole[start..end], "{start} to {end}");
    }
    assert_eq!(span(&plain, 0.75, None).expect("the rest").samples, whole[12_000..]);
    // Where the rate changes, the part's ends are not the whole's, but what is between them.
    let inner = |bytes: &[u8], exact: f32| {
        let whole = decoded(bytes).samples;
        let part = span(bytes, 0.1, Some(0.15)).expect("a part").samples;
        assert_eq!(part.len(), 2400);
        let error = (100..2300).map(|i| (part[i] - whole[1600 + i]).abs()).fold(0.0, f32::max);
        assert!(error <= exact, "{error}");
    };
    let stereo: Vec<i16> = chirp(22_050).iter().flat_map(|&x| [x, x / 2]).collect();
    inner(&wav(2, 44_100, &pcm16(&stereo)), 0.0);
    inner(FLAC, 0.0);
    inner(OPUS, 1e-6);
    inner(M4A, 0.0);
    inner(OGG, 1e-6);
}

#[test]
fn parts_that_are_not_there_are_named() {
    let plain = wav(1, 16_000, &pcm16(&chirp(16_000)));
    for bytes in [&plain[..], FLAC, OGG, OPUS, M4A] {
        for (start, seconds) in [(1.5, Some(0.5)), (0.2, Some(9.0)), (1.0, None)] {
            let message = span(bytes, start, seconds).expect_err("no such part").to_string();
            assert!(message.contains("is not there") && message.contains(" from "), "{message}");
            let recording = Recording { span: Some(Span { start, seconds }), ..memory(bytes) };
            assert!(recording.duration().is_err());
        }
    }
    let recording = Recording { span: Some(Span { start: 0.25, seconds: Some(0.5) }), ..memory(&plain) };
    assert_eq!(recording.duration().expect("a header"), 0.5);
    // Manifests round to two digits.
    assert_eq!(span(&plain, 0.5, Some(0.505)).expect("a part").samples.len(), 8000);
}

#[test]
fn a_channel_can_be_taken() {
    let pairs: Vec<i16> = chirp(400).iter().flat_map(|&x| [x, x / 3]).collect();
    let stereo = wav(2, 16_000, &pcm16(&pairs));
    let only = |channel| Recording { channel: Channel::Only(channel), ..memory(&stereo) }.read();
    let (left, right) = (only(1).expect("left").samples, only(2).expect("right").samples);
    let mean: Vec<f32> = left.iter().zip(&right).map(|(l, r)| (l + r) * 0.5).collect();
    assert_eq!(decoded(&stereo).samples, mean);
    assert_eq!(left, decoded(&wav(1, 16_000, &pcm16(&chirp(400)))).samples);
    for channel in [0, 3] {
        let message = only(channel).expect_err("no such channel").to_string();
        assert!(
            message.contains("has 2 channels") && message.contains(&format!("channel {channel}")),
            "{message}"
        );
    }
}

#[test]
fn channels_that_cancel_are_noticed() {
    let stereo = |share: f64| {
        let pairs: Vec<i16> = chirp(4000).iter().flat_map(|&x| [x, (f64::from(x) * share) as i16]).collect();
        wav(2, 16_000, &pcm16(&pairs))
    };
    assert!(refused(&stereo(-1.0)).contains("take one, channel 1"));
    assert!(refused(&stereo(-0.96)).contains("take one, channel 1"));
    let weak = decoded(&stereo(-0.8));
    assert!(weak.notes[0].contains("mostly cancel"), "{:?}", weak.notes);
    for share in [1.0, 0.0, -0.2] {
        assert!(decoded(&stereo(share)).notes.is_empty(), "{share}");
    }
    // Silence may cancel, and a channel alone cannot.
    assert_eq!(decoded(&wav(2, 16_000, &pcm16(&[0; 800]))).samples, [0.0; 400]);
    let left = Recording { channel: Channel::Only(1), ..memory(&stereo(-1.0)) };
    assert_eq!(left.read().expect("left").samples.len(), 4000);
}

#[test]
fn files_members_and_pipes_are_one() {
    let folder = TempDir::new().expect("a folder");
    let bytes = wav(1, 16_000, &pcm16(&SAMPLES));
    let archive = file(&folder, "a.tar", &[&[1; 512][..], &bytes, &[2; 300]].concat());
    let length = bytes.len() as u64;
    let member = |start, bytes| Recording {
        place: Place::Member { archive: archive.as_path().into(), name: "x.wav".into(), start, bytes },
        span: None,
        channel: Channel::Mix,
    };
    assert_eq!(member(512, length).read().expect("a member").samples, expected());
    assert_eq!(member(512, length).duration().expect("a member"), 6.0 / 16_000.0);
    let message = member(512, 4000).read().expect_err("too long").to_string();
    assert!(message.contains("a.tar/x.wav") && message.contains("cut short"), "{message}");
    let piped = read_pipe(bytes.as_slice()).expect("audio");
    let place = Place::Memory { name: "standard input".into(), bytes: Arc::from(piped) };
    assert_eq!(Recording { place, ..memory(&[]) }.read().expect("audio").samples, expected());
    // What is no audio is not read on.
    assert!(read_pipe(std::io::repeat(0)).expect_err("zeros").contains("not audio"));
}

/// Gives a few bytes at a time, and says how many it has given.
struct Trickle<'a>(&'a [u8], &'a std::cell::Cell<usize>);

impl Read for Trickle<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = buffer.len().min(self.0.len()).min(7);
        buffer[..count].copy_from_slice(&self.0[..count]);
        self.0 = &self.0[count..];
        self.1.set(self.1.get() + count);
        Ok(count)
    }
}

#[test]
fn a_pipe_of_unknown_length_is_decoded_as_it_comes() {
    let open = |parts: &[(&[u8; 4], &[u8])], size: u32| {
        let mut bytes = riff(parts);
        let data = bytes.windows(4).position(|name| name == b"data").expect("samples");
        bytes[4..8].copy_from_slice(&size.to_le_bytes());
        bytes[data + 4..data + 8].copy_from_slice(&size.to_le_bytes());
        bytes
    };
    let tone: Vec<i16> = (0..4000).map(|at| (9000.0 * (f64::from(at) * 0.3).sin()) as i16).collect();
    let samples = pcm16(&tone);
    for (rate, channels, size) in [(16_000, 1, u32::MAX), (44_100, 2, 0x7FFF_F024), (8000, 1, 0x8000_0000)] {
        let header = format(1, channels, rate, 2, 16);
        let bytes = open(&[(b"LIST", b"odd"), (b"fmt ", &header), (b"data", &samples)], size);
        let given = std::cell::Cell::new(0);
        let mut pipe = Trickle(&bytes, &given);
        let live::Beginning::Wave(pcm) = live::begin(&mut pipe).expect("WAV") else { panic!("not live") };
        assert_eq!(given.get(), bytes.len() - samples.len());
        let (mut found, mut first) = (Vec::new(), None);
        let mut sink = Sink::giving(Channel::Mix, None, |piece| {
            first.get_or_insert(given.get());
            found.extend(piece);
            true
        });
        live::read(&pcm, &mut pipe, &mut sink).expect("samples");
        sink.finish().expect("audio");
        assert_eq!(found, memory(&bytes).read().expect("audio").samples, "{rate} Hz");
        // Long before the end.
        assert!(first.is_some_and(|first| first < bytes.len() / 2), "{first:?}");
    }
    // What else a pipe may bring is left to those who read it whole.
    let tag = format(2, 1, 16_000, 2, 16);
    let others = [&b""[..], b"RIFF", &wav(1, 16_000, &samples), FLAC, &riff(&[(b"LIST", b"none")])];
    for bytes in others {
        let mut rest = bytes;
        let live::Beginning::Other(mut begun) = live::begin(&mut rest).expect("bytes") else {
            panic!("live")
        };
        begun.extend(rest);
        assert_eq!(begun, bytes);
    }
    assert!(live::begin(&mut open(&[(b"fmt ", &tag), (b"data", &samples)], u32::MAX).as_slice()).is_err());
}
