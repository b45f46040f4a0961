use super::*;
use crate::audio::Recording;
use crate::data::Utterance;

fn corpus(clips: &[(&str, f64)]) -> Corpus {
    let utterance = |(i, &(speaker, seconds)): (usize, &(&str, f64))| Utterance {
        audio: Recording::file(format!("{i}.wav")),
        duration: Some(seconds),
        measured: false,
        text: None,
        speaker: (!speaker.is_empty()).then(|| speaker.to_string()),
        label: None,
        origin: format!("m.jsonl:{}", i + 1),
    };
    Corpus { utterances: clips.iter().enumerate().map(utterance).collect() }
}

fn build(corpus: &Corpus, config: &ExampleConfig, seed: u32) -> Result<Examples> {
    Examples::build(corpus, &Lengths::stated(corpus), config, seed)
}

#[test]
fn whole_recordings_within_the_limits() {
    let corpus = corpus(&[("a", 0.5), ("a", 2.0), ("", 9.0)]);
    let config = ExampleConfig { min_seconds: 1.0, max_seconds: Some(5.0), ..Default::default() };
    let examples = build(&corpus, &config, 1).expect("examples");
    assert_eq!(examples.list, [Example { stated: true, ..Example::whole(1, 32_000) }]);
    assert_eq!(examples.left_out.to_string(), "1 too short, 1 too long");
    let named: Vec<String> = examples.left_out.iter().map(|(_, one)| one.to_string()).collect();
    assert!(named[0].contains("0.wav: lasts 0.5000 s") && named[0].contains("m.jsonl:1"), "{named:?}");
    assert!(named[1].contains("max_seconds = 5") && named[1].contains("m.jsonl:3"), "{named:?}");
    let config = ExampleConfig { min_seconds: 10.0, ..Default::default() };
    let message = build(&corpus, &config, 1).expect_err("nothing left").to_string();
    assert!(message.contains("3 too short") && message.contains("m.jsonl:1"), "{message}");
}

#[test]
fn long_recordings_are_cut() {
    let config = ExampleConfig { min_seconds: 0.5, window_seconds: Some(4.0), ..Default::default() };
    let examples = build(&corpus(&[("a", 9.0), ("b", 4.2)]), &config, 1).expect("examples");
    let parts: Vec<_> =
        examples.list.iter().map(|e| (e.segments[0].utterance, e.segments[0].start, e.samples)).collect();
    assert_eq!(
        parts,
        [(0, 0, 64_000), (0, 64_000, 64_000), (0, 80_000, 64_000), (1, 0, 64_000), (1, 3200, 64_000)]
    );
}

#[test]
fn short_clips_of_one_speaker_are_strung_together() {
    let clips: Vec<_> =
        (0..20).map(|i| (["a", "b"][i % 2], 0.3 + 0.01 * i as f64)).chain([("", 0.5), ("a", 5.0)]).collect();
    let corpus = corpus(&clips);
    let config = ExampleConfig { string_seconds: Some(1.0), ..Default::default() };
    let examples = build(&corpus, &config, 3).expect("examples");
    // 3.9 s of a, 4.0 s of b, the clip without a speaker and the long one.
    assert_eq!(examples.list.len(), 4 + 4 + 2);
    let mut audio = vec![0; 20];
    for example in &examples.list[2..] {
        assert_eq!(example.samples, 16_000);
        assert_eq!(example.segments.iter().map(|s| s.samples).sum::<usize>(), 16_000);
        let speaker = |s: &Segment| s.utterance % 2;
        assert!(example.segments.iter().all(|s| speaker(s) == speaker(&example.segments[0])));
        example.segments.iter().for_each(|s| audio[s.utterance] += s.samples);
    }
    assert!((0..20).all(|i| audio[i] >= samples_of(clips[i].1)), "{audio:?}");
    assert_eq!(examples, build(&corpus, &config, 3).expect("examples"));
    assert_ne!(examples, build(&corpus, &config, 4).expect("examples"));
    // With gaps: 7.9 s of a, 8 s of b; each clip whole, and every gap before its first sample.
    let config = ExampleConfig { string_gap_seconds: [0.4; 2], ..config };
    let examples = build(&corpus, &config, 3).expect("examples");
    assert_eq!(examples.list.len(), 8 + 8 + 2);
    let mut audio = vec![(0, 0); 20];
    for example in &examples.list[2..] {
        let waveform = example.waveform(&corpus, &mut |i| Ok(Arc::new(vec![1.0; samples_of(clips[i].1)])));
        assert_eq!(
            (waveform.waveform.len(), waveform.refused.len(), waveform.differing.len()),
            (16_000, 0, 0)
        );
        for segment in &example.segments {
            audio[segment.utterance].0 += segment.gap;
            audio[segment.utterance].1 += segment.samples;
            assert!(segment.gap == 0 || segment.start == 0);
        }
    }
    assert!((0..20).all(|i| audio[i].0 >= 6400 && audio[i].1 >= samples_of(clips[i].1)), "{audio:?}");
    let config = ExampleConfig { string_seconds: Some(60.0), ..Default::default() };
    let examples = build(&corpus, &config, 3).expect("examples");
    assert_eq!(examples.list.iter().map(|e| e.segments.len()).collect::<Vec<_>>(), [1, 11, 10]);
}

#[test]
fn whole_clips_that_join_are_drawn_anew_and_the_others_stay() {
    let clips =
        [("a", 0.5), ("a", 0.05), ("a", 0.7), ("", 0.5), ("a", 5.0), ("a", 3.5), ("a", 0.6), ("b", 9.0)];
    let corpus = corpus(&clips);
    let config = ExampleConfig {
        min_seconds: 0.1,
        max_seconds: Some(8.0),
        string_seconds: Some(4.0),
        string_gap_seconds: [0.1, 0.2],
        string_whole: true,
        ..Default::default()
    };
    let joins = |utterance: &Utterance| utterance.audio != corpus.utterances[6].audio;
    let lengths = Lengths::stated(&corpus);
    let examples = Examples::build_joining(&corpus, &lengths, &config, 3, &joins).expect("examples");
    assert_eq!(examples.left_out.to_string(), "1 too short, 1 too long");
    let stay: Vec<usize> = examples.list[..3].iter().map(|e| e.segments[0].utterance).collect();
    assert_eq!(stay, [3, 4, 6]);
    assert_eq!(examples.epoch(0)[..], examples.list[..]);
    for epoch in 0..9 {
        let list = examples.epoch(epoch);
        assert_eq!(list[..3], examples.list[..3]);
        let mut drawn: Vec<usize> = list[3..].iter().flat_map(|e| &e.segments).map(|s| s.utterance).collect();
        drawn.sort_unstable();
        assert_eq!(drawn, [0, 2, 5]);
        assert!(list.iter().all(|example| example.longest() <= examples.longest()));
    }
    assert!((1..9).any(|epoch| examples.epoch(epoch) != examples.epoch(0)));
    assert_eq!(examples.most_tokens(&|utterance| [3, 0, 4, 1, 2, 5, 9, 50][utterance]), 14);
    assert!(examples.differ() && !build(&corpus, &ExampleConfig::default(), 3).expect("examples").differ());
}

#[test]
fn the_own_length_of_a_file_counts() {
    let corpus = corpus(&[("a", 1.0)]);
    let waveform =
        |example: &Example, length| example.waveform(&corpus, &mut |_| Ok(Arc::new(vec![0.5; length])));
    let whole = Example { stated: true, ..Example::whole(0, 16_000) };
    for (length, differing) in [(14_000, 1), (14_500, 0), (17_500, 0), (18_000, 1)] {
        let audio = waveform(&whole, length);
        assert_eq!((audio.waveform.len(), audio.differing.len()), (length, differing));
    }
    let text = waveform(&whole, 18_000).differing[0].to_string();
    for part in ["0.wav", "m.jsonl:1", "1.125 s", "1.000 s"] {
        assert!(text.contains(part), "{text}");
    }
    let segment = Segment { utterance: 0, gap: 0, start: 8000, samples: 8000, open: false };
    let cut = Example { segments: vec![segment], samples: 8000, stated: false };
    for (length, left, differing) in [(20_000, 8000, 0), (15_900, 7900, 0), (10_000, 2000, 1), (10, 0, 1)] {
        let audio = waveform(&cut, length);
        assert_eq!((audio.waveform.len(), audio.differing.len()), (left, differing));
    }
}

#[test]
fn one_bad_clip_of_a_string_is_replaced_by_the_others() {
    let corpus = corpus(&[("a", 1.0), ("a", 0.5), ("a", 0.25)]);
    let clips = [16_000, 8000, 4000];
    let segment = |utterance| Segment { utterance, gap: 0, start: 0, samples: clips[utterance], open: false };
    let example = Example { segments: (0..3).map(segment).collect(), samples: 28_000, stated: false };
    let audio = example.waveform(&corpus, &mut |i| match i {
        0 => Err(Error::file("0.wav", "is damaged")),
        _ => Ok(Arc::new(vec![i as f32; clips[i]])),
    });
    let [bad] = &audio.refused[..] else { panic!("{:?}", audio.refused) };
    assert_eq!((bad.why, bad.left_out(&corpus).origin.as_str()), (Why::Unreadable, "m.jsonl:1"));
    assert_eq!(audio.waveform.len(), 28_000);
    let once: Vec<f32> = [vec![1.0; 8000], vec![2.0; 4000]].concat();
    assert!((0..28_000).all(|at| audio.waveform[at] == once[at % 12_000]));
    // Whole clips do not come again, and one that is too long for its place is left out.
    let mut whole = example.clone();
    whole.segments.iter_mut().for_each(|segment| (segment.open, segment.gap) = (true, 100));
    let audio = whole.waveform(&corpus, &mut |i| match i {
        0 => Err(Error::file("0.wav", "is damaged")),
        1 => Ok(Arc::new(vec![1.0; 8020])),
        _ => Ok(Arc::new(vec![2.0; 4010])),
    });
    assert_eq!((audio.waveform.len(), audio.parts), (4110, vec![2]));
    assert_eq!(audio.refused.iter().map(|one| one.why).collect::<Vec<_>>(), [Why::Unreadable, Why::TooLong]);
    assert!(audio.refused[1].error.to_string().contains("has no room"), "{}", audio.refused[1].error);
    let none = example.waveform(&corpus, &mut |_| Err(Error::file("0.wav", "is damaged")));
    assert_eq!((none.waveform.len(), none.refused.len()), (0, 3));
}

#[test]
fn wrong_settings_are_named() {
    for (config, key) in [
        (ExampleConfig { string_seconds: Some(0.0), ..Default::default() }, "string_seconds"),
        (ExampleConfig { string_gap_seconds: [-1.0, 2.0], ..Default::default() }, "string_gap_seconds"),
        (ExampleConfig { string_gap_seconds: [2.0, 1.0], ..Default::default() }, "string_gap_seconds"),
        (ExampleConfig { window_seconds: Some(f64::NAN), ..Default::default() }, "window_seconds"),
        (ExampleConfig { min_seconds: 3.0, max_seconds: Some(2.0), ..Default::default() }, "min_seconds"),
    ] {
        assert!(config.check().expect_err("wrong").to_string().contains(key));
    }
}
