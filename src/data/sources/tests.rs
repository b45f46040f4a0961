use std::io::Write;

use proptest::prelude::*;
use tempfile::TempDir;

use super::archive::tests::tar;
use super::*;
use crate::audio::{Channel, Place, Span};
use crate::data::Corpus;

fn write(folder: &TempDir, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
    let path = folder.path().join(name);
    std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    std::fs::write(&path, bytes).expect("a temporary file");
    path
}

fn gzip(text: &str) -> Vec<u8> {
    let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    writer.write_all(text.as_bytes()).expect("in memory");
    writer.finish().expect("in memory")
}

fn wav(rate: u32, samples: usize) -> Vec<u8> {
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: rate,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut cursor = Cursor::new(Vec::new());
    let mut writer = hound::WavWriter::new(&mut cursor, spec).expect("a header");
    (0..samples).for_each(|i| writer.write_sample((i % 50) as i16).expect("a sample"));
    writer.finalize().expect("in memory");
    cursor.into_inner()
}

fn load(sources: &[&Path]) -> Vec<Utterance> {
    Corpus::load(sources).expect("a corpus").utterances
}

fn failure(sources: &[&Path]) -> String {
    Corpus::load(sources).expect_err("bad sources").to_string()
}

/// The text, speaker and label.
fn said(utterance: &Utterance) -> (Option<&str>, Option<&str>, Option<&str>) {
    (utterance.text.as_deref(), utterance.speaker.as_deref(), utterance.label.as_deref())
}

fn file_name(utterance: &Utterance) -> String {
    let path = utterance.audio.path().expect("a file");
    path.file_name().expect("a name").to_string_lossy().into_owned()
}

fn span(start: f64, seconds: f64) -> Option<Span> {
    Some(Span { start, seconds: Some(seconds) })
}

/// Every line is refused with its number and a part of the reason; what is right before it is still read.
fn refuses(name: &str, head: &str, lines: &[(&str, &str)]) {
    for (line, reason) in lines {
        let text = format!("{head}{line}\n");
        let number = head.lines().count() + 1;
        let message =
            Corpus::from_bytes(Path::new(name), text.as_bytes()).expect_err("a bad line").to_string();
        assert!(message.starts_with(&format!("{name}:{number}: ")) && message.contains(reason), "{message}");
    }
}

#[test]
fn nemo_lines_are_read() {
    let folder = TempDir::new().expect("a folder");
    let text = "\u{feff}{\"audio_filepath\": \"a/b.wav\", \"duration\": 1.5, \"text\": \"cafe\u{301}\", \"speaker\": 7, \"x\": []}\r\n\n\
                {\"audio_filepath\": \"/c.flac\", \"offset\": 2.25, \"duration\": 0.5, \"channel\": 2, \"label\": \"yes\"}\n\
                {\"audio_filepath\": \"/c.flac\", \"offset\": null, \"channel\": \"mix\", \"label\": 3}";
    for path in [
        write(&folder, "m.jsonl", text),
        write(&folder, "m.json", text),
        write(&folder, "m.jsonl.gz", gzip(text)),
        write(&folder, "n.json.gz", gzip(text)),
        // Gzip is told by content.
        write(&folder, "packed.jsonl", gzip(text)),
    ] {
        let utterances = load(&[&path]);
        let [first, second, third] = &utterances[..] else { panic!("three lines") };
        assert_eq!(first.audio, Recording::file(folder.path().join("a/b.wav")));
        assert_eq!((first.duration, said(first)), (Some(1.5), (Some("caf\u{e9}"), Some("7"), None)));
        assert_eq!(first.origin, format!("{}:1", path.display()));
        let part =
            Recording { span: span(2.25, 0.5), channel: Channel::Only(2), ..Recording::file("/c.flac") };
        assert_eq!(
            (&second.audio, second.duration, said(second)),
            (&part, Some(0.5), (None, None, Some("yes")))
        );
        assert_eq!((&third.audio, said(third).2), (&Recording::file("/c.flac"), Some("3")));
        let message = Corpus { utterances }.texts().expect_err("one has no text").to_string();
        assert!(message.contains(":3: ") && message.contains("`text`"), "{message}");
    }
}

#[test]
fn wrong_lines_of_nemo_are_named() {
    refuses(
        "m.jsonl",
        "{\"audio_filepath\": \"ok.wav\"}\n\n",
        &[
            ("{\"duration\": 1}", "`audio_filepath`"),
            ("{\"audio_filepath\": 3}", "`audio_filepath`"),
            ("{\"audio_filepath\": \"a\", \"duration\": \"long\"}", "`duration`"),
            ("{\"audio_filepath\": \"a\", \"duration\": -1}", "`duration`"),
            ("{\"audio_filepath\": \"a\", \"duration\": 0}", "`duration`"),
            ("{\"audio_filepath\": \"a\", \"text\": 1}", "`text`"),
            ("{\"audio_filepath\": \"a\", \"offset\": -2.5}", "`offset`"),
            ("{\"audio_filepath\": \"a\", \"offset\": \"x\"}", "`offset`"),
            ("{\"audio_filepath\": \"a\", \"channel\": 0}", "`channel` is 0; give a number from 1"),
            ("{\"audio_filepath\": \"a\", \"channel\": \"left\"}", "`channel`"),
            ("{\"audio_filepath\": \"a\", \"label\": [1]}", "`label`"),
            ("{\"audio_filepath\": \"a\", \"shard_id\": 3}", "shard 3"),
            ("[1]", "an array"),
            ("{", "does not end on its line"),
            ("{\"a\" 1}", "JSON object"),
        ],
    );
    let bytes = |name: &str, bytes: &[u8]| {
        Corpus::from_bytes(Path::new(name), bytes).expect_err("bad bytes").to_string()
    };
    assert!(bytes("m.jsonl", b"{}\xff").contains("m.jsonl:1: is not UTF-8"));
    assert!(
        bytes("m.json", b"[\n{\"audio_filepath\": \"a\"}\n]")
            .contains("m.json:1: is not a JSON object but an array")
    );
    assert!(bytes("empty.jsonl", b"\n").contains("no recording"));
    let folder = TempDir::new().expect("a folder");
    assert!(failure(&[&folder.path().join("absent.jsonl")]).contains("does not exist"));
    assert!(failure(&[&folder.path().join("absent")]).contains("does not exist"));
    assert!(failure(&[&write(&folder, "notes.txt", "x")]).contains("no source of data"));
    assert!(Corpus::load::<&Path>(&[]).is_err());
}

#[test]
fn reading_with_errors_goes_on_after_what_is_wrong() {
    let folder = TempDir::new().expect("a folder");
    let good = "{\"audio_filepath\": \"a.wav\"}\n";
    let manifest = write(&folder, "m.jsonl", format!("{good}{{\n{good}[]\n"));
    let absent = folder.path().join("absent.csv");
    let (corpus, broken) = Corpus::read_with_errors(&[&manifest, &absent]).expect("a corpus");
    assert_eq!(corpus.utterances.len(), 2);
    let broken: Vec<String> = broken.iter().map(ToString::to_string).collect();
    assert_eq!(broken.len(), 3);
    assert!(
        broken[0].contains("absent.csv")
            && broken[1].contains("m.jsonl:2:")
            && broken[2].contains("m.jsonl:4:")
    );
}

#[test]
fn nemo_archives_are_found_by_their_number() {
    let folder = TempDir::new().expect("a folder");
    let archives = [tar(&[("x.wav", b"xx"), ("y.wav", b"yyy")]), tar(&[("z.flac", b"z")])];
    for (number, bytes) in archives.iter().enumerate() {
        write(&folder, &format!("audio_{number}.tar"), bytes);
        write(&folder, &format!("elsewhere/part-{number}.tar"), bytes);
    }
    let text = "{\"audio_filepath\": \"y.wav\", \"shard_id\": 0, \"text\": \"y\"}\n\
                {\"audio_filepath\": \"z.flac\", \"shard_id\": 1}\n\
                {\"audio_filepath\": \"y-sub1.wav\", \"shard_id\": 0, \"offset\": 1.5, \"duration\": 2}\n";
    let beside = write(&folder, "tarred_audio_manifest.json", text);
    write(&folder, "sharded_manifests/manifest_0.json", text.lines().next().expect("a line"));
    write(&folder, "sharded_manifests/manifest_1.json", text.lines().nth(1).expect("a line"));
    let alone = write(&folder, "alone/deep/m.json", text);
    let content = |utterance: &Utterance| {
        let Place::Member { archive, name, start, bytes } = &utterance.audio.place else {
            panic!("a member")
        };
        let stored = std::fs::read(archive).expect("an archive");
        (name.clone(), stored[*start as usize..][..*bytes as usize].to_vec())
    };
    let pattern = |name: &str| folder.path().join(name);
    for sources in [
        vec![beside],
        vec![alone.clone(), pattern("elsewhere/part-{0..1}.tar")],
        vec![pattern("elsewhere/part-_OP_0..1_CL_.tar"), alone.clone()],
    ] {
        let utterances = Corpus::load(&sources).expect("a corpus").utterances;
        let found: Vec<_> = utterances.iter().map(content).collect();
        let expected = [("y.wav", b"yyy".to_vec()), ("z.flac", b"z".to_vec()), ("y.wav", b"yyy".to_vec())];
        assert_eq!(found, expected.map(|(name, bytes)| (name.to_owned(), bytes)));
        assert_eq!((utterances[2].audio.span, said(&utterances[0]).0), (span(1.5, 2.0), Some("y")));
    }
    let sharded = load(&[&pattern("sharded_manifests/manifest__OP_0..1_CL_.json")]);
    assert_eq!(sharded.iter().map(content).map(|(name, _)| name).collect::<Vec<_>>(), ["y.wav", "z.flac"]);

    assert!(failure(&[&alone]).contains("m.json:1: is in shard 0, but there is no audio_0.tar"));
    let only = pattern("elsewhere/part-1.tar");
    assert!(failure(&[&alone, &only]).contains("m.json:1: is in shard 0"));
    let other = write(&folder, "m.json", text.replace("z.flac", "q.flac"));
    assert!(failure(&[&other]).contains("m.json:2: names q.flac, which is not in"));
    let unused = write(&folder, "more/audio_7.tar", tar(&[]));
    assert!(
        failure(&[&other.with_file_name("tarred_audio_manifest.json"), &unused])
            .contains("shard 7, which no line")
    );
}

#[test]
fn speechbrain_tables_are_read() {
    let folder = TempDir::new().expect("a folder");
    let text = "ID,duration,wav,spk_id,wrd\r\na,1.5,$data_root/x/a.wav,s1,\"HELLO, \"\"YOU\"\"\"\r\nb,2,{root}/b.wav,,\r\n";
    for path in [write(&folder, "m.csv", text), write(&folder, "m.csv.gz", gzip(text))] {
        let utterances = load(&[&path]);
        let [first, second] = &utterances[..] else { panic!("two rows") };
        assert_eq!(first.audio, Recording::file(folder.path().join("x/a.wav")));
        assert_eq!(said(first), (Some("HELLO, \"YOU\""), Some("s1"), None));
        assert_eq!(second.audio, Recording::file(folder.path().join("b.wav")));
        assert_eq!((second.duration, said(second)), (Some(2.0), (Some(""), None, None)));
    }
    refuses(
        "m.csv",
        "ID,duration,wav,start,stop,spk_id,wrd\nx,,x.wav,,,,\n",
        &[
            ("c,1,c.wav,,,s", "`wrd`"),
            ("c,1", "`wav`"),
            ("c,long,c.wav,,,s,x", "`duration`"),
            ("c,1,,,,s,x", "`wav`"),
            ("c,1,c.wav,,,s,x,y", "8 fields"),
            ("c,1,c.wav,,,s,\"x", "quote"),
            ("c,1,c.wav,-5,,s,x", "`start`"),
            ("c,1,c.wav,0,1.5,s,x", "`stop`"),
            ("c,1,c.wav,7,7,s,x", "stops at sample 7"),
            ("x,1,c.wav,,,s,x", "the ID x of a row above"),
        ],
    );
    refuses("m.csv", "", &[("ID,text\n1,2", "has no column `wav`")]);
    assert!(failure(&[&write(&folder, "m.csv", "ID,wav\n")]).contains("no recording"));
}

#[test]
fn parts_in_samples_are_of_the_files_rate() {
    let folder = TempDir::new().expect("a folder");
    write(&folder, "w8.wav", wav(8000, 24_000));
    write(&folder, "w48.wav", wav(48_000, 48_000));
    // The duration is the file's, as VoxCeleb's tables have it; 24000 samples in 3 s look like 8 kHz.
    let text = "ID,duration,wav,start,stop\na,3.0,w8.wav,8000,20000\nb,1.0,w48.wav,0,24000.0\nc,1.0,w48.wav,12000,\nd,1,gone.wav,16000,32000\n";
    let utterances = load(&[&write(&folder, "m.csv", text)]);
    let parts: Vec<_> = utterances.iter().map(|u| (u.audio.span, u.duration)).collect();
    let to_the_end = Some(Span { start: 0.25, seconds: None });
    assert_eq!(
        parts,
        [
            (span(1.0, 1.5), Some(1.5)),
            (span(0.0, 0.5), Some(0.5)),
            (to_the_end, None),
            (span(1.0, 1.0), Some(1.0)),
        ]
    );
}

#[test]
fn kaldi_folders_are_read() {
    let folder = TempDir::new().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    write(&folder, "a/wav.scp", "u2  x/2.wav \nu1 /1.flac\n");
    write(&folder, "a/text", "u1 one  two\nu2\n");
    write(&folder, "a/utt2spk", "u1 s1\nu2 s2\n");
    write(&folder, "a/utt2dur", "u1 1.25\n");
    let utterances = load(&[&path("a")]);
    let [first, second] = &utterances[..] else { panic!("two utterances") };
    assert_eq!(
        (&first.audio, said(first)),
        (&Recording::file("/1.flac"), (Some("one  two"), Some("s1"), None))
    );
    assert_eq!((first.duration, first.origin.ends_with("wav.scp:2")), (Some(1.25), true));
    assert_eq!((&second.audio, said(second).0), (&Recording::file(path("a/x/2.wav")), Some("")));

    write(&folder, "s/wav.scp", "rec long.wav\n");
    write(&folder, "s/segments", "u1 rec 0 1.5\nu2 rec 1.5 -1\n");
    let utterances = load(&[&path("s")]);
    assert_eq!((utterances[0].audio.span, utterances[0].duration), (span(0.0, 1.5), Some(1.5)));
    assert_eq!(utterances[1].audio.span, Some(Span { start: 1.5, seconds: None }));
    assert_eq!(utterances[1].text, None);

    for (at, (file, content, reason)) in [
        ("wav.scp", "u1 sph2pipe -f wav 1.sph |\n", "wav.scp:1: gives u1 as a command"),
        ("wav.scp", "u1 a.ark:123\n", "wav.scp:1: gives u1 as a part of an archive"),
        ("wav.scp", "u1 a.wav\nu2\n", "wav.scp:2: has nothing after the id u2"),
        ("wav.scp", "u1 a.wav\nu1 b.wav\n", "wav.scp:2: names u1, as line 1 does"),
        ("text", "u2 x\n", "wav.scp:1: names u1, which text lacks"),
        ("text", "u1 x\nu2 x\n", "text:2: names u2, which wav.scp lacks"),
        ("utt2spk", "u3 x\n", "wav.scp:1: names u1, which utt2spk lacks"),
        ("utt2dur", "u1 -1\n", "utt2dur:1: gives u1"),
        ("segments", "u1 other 0 1\n", "segments:1: is a part of other"),
        ("segments", "u1 u1 0\n", "segments:1: is not UTTERANCE RECORDING START END"),
        ("segments", "u1 u1 2 1\n", "segments:1: ends at 1 s"),
        ("segments", "u1 u1 x 1\n", "segments:1: is from"),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("bad{at}");
        write(&folder, &format!("{name}/wav.scp"), "u1 a.wav\n");
        write(&folder, &format!("{name}/{file}"), content);
        let message = failure(&[&path(&name)]);
        assert!(message.contains(reason), "{message}");
    }
}

const RECORDINGS: &str = r#"{"id": "mono", "sources": [{"type": "file", "channels": [0], "source": "mono.wav"}], "sampling_rate": 16000, "num_samples": 64000, "duration": 4.0, "channel_ids": [0]}
{"id": "call", "sources": [{"type": "file", "channels": [0, 1], "source": "/call.wav"}], "sampling_rate": 8000, "num_samples": 80000, "duration": 10.0}
"#;
const SUPERVISIONS: &str = r#"{"id": "s1", "recording_id": "call", "start": 2.5, "duration": 1.5, "channel": 1, "text": "hello", "speaker": "B"}
{"id": "s2", "recording_id": "mono", "start": 0.0, "duration": 4.0, "channel": 0, "text": "all"}
{"id": "s3", "recording_id": "call", "start": 0, "duration": 10.0, "channel": [0, 1], "text": "both"}
"#;

#[test]
fn lhotse_recordings_and_supervisions_are_read() {
    let folder = TempDir::new().expect("a folder");
    let recordings = write(&folder, "x_recordings_dev.jsonl.gz", gzip(RECORDINGS));
    let alone = load(&[&recordings]);
    assert_eq!(alone.iter().map(|u| u.duration).collect::<Vec<_>>(), [Some(4.0), Some(10.0)]);
    let supervisions = write(&folder, "x_supervisions_dev.jsonl.gz", gzip(SUPERVISIONS));
    let other = write(&folder, "elsewhere/s.jsonl", SUPERVISIONS);
    // Either of the two finds the other beside it.
    let (of, what, elsewhere) = (recordings.as_path(), supervisions.as_path(), other.as_path());
    for sources in [&[of][..], &[what], &[of, what], &[what, of], &[elsewhere, of]] {
        let utterances = load(sources);
        let [first, second, third] = &utterances[..] else { panic!("three supervisions") };
        let call = Recording::file("/call.wav");
        let expected = Recording { span: span(2.5, 1.5), channel: Channel::Only(2), ..call.clone() };
        assert_eq!((&first.audio, said(first)), (&expected, (Some("hello"), Some("B"), None)));
        assert_eq!(first.duration, Some(1.5));
        assert_eq!(second.audio, Recording::file(folder.path().join("mono.wav")));
        assert_eq!(third.audio, call);
    }
    assert!(failure(&[&other]).contains("there is no recordings.jsonl.gz beside it"));
    for (line, reason) in [
        (r#"{"id": "s", "recording_id": "no", "start": 0, "duration": 1}"#, "recording no"),
        (r#"{"id": "s", "recording_id": "mono", "start": 3, "duration": 2}"#, "ends at 5.000 s"),
        (r#"{"id": "s", "recording_id": "mono", "start": 0}"#, "`duration`"),
        (r#"{"id": "s", "recording_id": "mono", "start": 0, "duration": 1, "channel": 4}"#, "channel 4"),
        (r#"{"id": "s", "recording_id": "mono", "start": -1, "duration": 1}"#, "`start`"),
    ] {
        let bad = write(&folder, "elsewhere/bad.jsonl", format!("{}{line}\n", SUPERVISIONS));
        let message = failure(&[&bad, &recordings]);
        assert!(message.contains("bad.jsonl:4: ") && message.contains(reason), "{message}");
    }
    refuses(
        "recordings.jsonl",
        RECORDINGS,
        &[
            (
                r#"{"id": "mono", "sources": [{"source": "a"}], "duration": 1}"#,
                "has the id mono of a line above",
            ),
            (
                r#"{"id": "x", "sources": [{"type": "command", "source": "a"}], "duration": 1}"#,
                "the type command",
            ),
            (r#"{"id": "x", "sources": [], "duration": 1}"#, "`sources`"),
            (r#"{"id": "x", "sources": [{"source": "a"}]}"#, "`duration`"),
            (
                r#"{"id": "x", "sources": [{"source": "a"}], "duration": 1, "transforms": [{"name": "Speed"}]}"#,
                "`transforms`",
            ),
        ],
    );
}

#[test]
fn lhotse_cuts_are_read() {
    let recording = r#"{"id": "r", "sources": [{"type": "file", "channels": [0, 1], "source": "/r.wav"}], "sampling_rate": 8000, "num_samples": 80000, "duration": 10.0}"#;
    let cut = |fields: &str| {
        format!("{{\"id\": \"c\", \"type\": \"MonoCut\", \"recording\": {recording}, {fields}}}\n")
    };
    let text = [
        cut(r#""start": 2.0, "duration": 3.0, "channel": 1, "supervisions": [{"id": "s", "recording_id": "r", "start": 0.5, "duration": 2, "text": "one", "speaker": "A"}]"#),
        cut(r#""start": 2.0, "duration": 3.0, "channel": 0, "supervisions": [{"start": 0, "duration": 1, "text": "a"}, {"start": 1.5, "duration": 1, "text": "b"}]"#),
        cut(r#""start": 0, "duration": 10.0, "channel": 0, "supervisions": []"#),
    ]
    .concat();
    let corpus = Corpus::from_bytes(Path::new("cuts.jsonl.gz"), &gzip(&text)).expect("cuts");
    let part = |start, seconds, channel| Recording {
        span: span(start, seconds),
        channel: Channel::Only(channel),
        ..Recording::file("/r.wav")
    };
    let found: Vec<_> = corpus.utterances.iter().map(|u| (u.audio.clone(), said(u).0, u.duration)).collect();
    assert_eq!(
        found,
        [
            (part(2.0, 3.0, 2), Some("one"), Some(3.0)),
            (part(2.0, 1.0, 1), Some("a"), Some(1.0)),
            (part(3.5, 1.0, 1), Some("b"), Some(1.0)),
            (Recording { channel: Channel::Only(1), ..Recording::file("/r.wav") }, None, Some(10.0)),
        ]
    );
    let late = cut(r#""start": 9.0, "duration": 3.0, "channel": 0"#);
    let over = cut(
        r#""start": 0, "duration": 3.0, "channel": 0, "supervisions": [{"start": -1, "duration": 2, "text": "x"}]"#,
    );
    refuses(
        "cuts.jsonl",
        &text,
        &[
            (r#"{"id": "m", "type": "MixedCut", "tracks": []}"#, "is a MixedCut"),
            (r#"{"id": "m", "type": "MultiCut", "start": 0, "duration": 1}"#, "is a MultiCut"),
            (r#"{"id": "m", "type": "MonoCut", "start": 0, "duration": 1, "features": {}}"#, "no recording"),
            (late.trim(), "ends at 12.000 s"),
            (over.trim(), "a supervision from -1.000"),
        ],
    );
}

#[test]
fn common_voice_is_read() {
    let folder = TempDir::new().expect("a folder");
    let header = "client_id\tpath\tsentence\tup_votes\n";
    let text = format!("\u{feff}{header}abc\tc1.mp3\tHe said \"no\".\t2\n\tc2\t\t0\n");
    write(&folder, "clip_durations.tsv", "clip\tduration[ms]\nc1.mp3\t2500\n");
    let utterances = load(&[&write(&folder, "train.tsv", text)]);
    let [first, second] = &utterances[..] else { panic!("two clips") };
    assert_eq!(first.audio, Recording::file(folder.path().join("clips/c1.mp3")));
    assert_eq!((first.duration, said(first)), (Some(2.5), (Some("He said \"no\"."), Some("abc"), None)));
    assert_eq!((file_name(second).as_str(), said(second)), ("c2.mp3", (Some(""), None, None)));
    refuses(
        "x.tsv",
        header,
        &[
            ("a\tb.mp3", "no `sentence`"),
            ("a\t\tx\t1", "`path`"),
            ("a\tb\tx\t1\t2", "5 fields for 4 columns"),
        ],
    );
    refuses("x.tsv", "", &[("a\tb", "has no column `path`")]);
}

#[test]
fn webdatasets_are_read() {
    let folder = TempDir::new().expect("a folder");
    let bytes = tar(&[
        ("d/a.1.flac", b"audio"),
        ("d/a.txt", "cafe\u{301}\n".as_bytes()),
        ("d/a.cls", b"3"),
        ("b.json", br#"{"text": "hello", "speaker": 5}"#),
        ("b.wav", b"more audio"),
        ("c.wav", b"without text"),
        ("d.txt", b"without audio"),
        ("._c.wav", b"junk"),
        ("index", b"x"),
    ]);
    let path = write(&folder, "shard-000.tar", &bytes);
    let utterances = load(&[&path]);
    let [first, second, third] = &utterances[..] else { panic!("three samples") };
    assert_eq!(said(first), (Some("caf\u{e9}"), None, Some("3")));
    assert_eq!((said(second), said(third)), ((Some("hello"), Some("5"), None), (None, None, None)));
    let Place::Member { name, start, bytes: length, .. } = &second.audio.place else { panic!("a member") };
    assert_eq!(name, "b.wav");
    assert_eq!(&bytes[*start as usize..][..*length as usize], b"more audio");
    let bad = write(&folder, "bad.tar", tar(&[("a.wav", b"x"), ("a.json", b"{")]));
    assert!(failure(&[&bad]).contains("bad.tar/a.json: is no JSON"));
    let (corpus, broken) = Corpus::read_with_errors(&[&bad]).expect("a corpus");
    assert_eq!((corpus.utterances.len(), broken.len()), (1, 1));
    assert!(failure(&[&write(&folder, "x.tar.gz", gzip("x"))]).contains("packed with gzip"));
    assert!(failure(&[&write(&folder, "cut.tar", &bytes[..700])]).contains("cut short"));
}

#[cfg(not(feature = "parquet"))]
#[test]
fn parquet_tables_say_how_to_have_them() {
    let message = Corpus::from_bytes(Path::new("a.parquet"), b"PAR1").expect_err("not built in").to_string();
    assert!(message.contains("--features parquet"), "{message}");
}

#[test]
fn trees_and_folders_are_read_in_order() {
    let folder = TempDir::new().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    for name in
        ["b/2.wav", "a.OGG", "b/1.flac", "readme.txt", "._1.wav", ".cache/3.wav", "b/.hidden.wav", "c.wma"]
    {
        write(&folder, &format!("plain/{name}"), "");
    }
    let mut found = Found::default();
    load_all(&[Source { path: &path("plain"), bytes: None }], &mut found).expect("a folder");
    assert_eq!(found.utterances.iter().map(file_name).collect::<Vec<_>>(), ["a.OGG", "1.flac", "2.wav"]);
    assert!(
        matches!(&found.notes[..], [note] if note.contains("leaves out 1 file,") && note.contains("c.wma")),
        "{:?}",
        found.notes
    );

    let transcript = "ls/84/121/84-121.trans.txt";
    write(&folder, transcript, "84-121-0000 GO DO\n84-121-0001 NO\n");
    write(&folder, "ls/84/121/84-121-0000.flac", "");
    let message = failure(&[&path("ls")]);
    assert!(message.contains("84-121.trans.txt:2:") && message.contains("84-121-0001"), "{message}");
    write(&folder, "ls/84/121/84-121-0001.mp3", "");
    write(&folder, "ls/84/121/84-121-0002.wav", "");
    let mut found = Found::default();
    load_all(&[Source { path: &path("ls"), bytes: None }], &mut found).expect("a tree");
    assert_eq!(
        found.utterances.iter().map(said).collect::<Vec<_>>(),
        [(Some("GO DO"), Some("84"), None), (Some("NO"), Some("84"), None)]
    );
    assert!(
        matches!(&found.notes[..], [note] if note.contains("no transcript names") && note.contains("84-121-0002.wav"))
    );

    std::fs::create_dir(path("none")).expect("a folder");
    assert!(failure(&[&path("none")]).contains("no recording"));
    write(&folder, "shards/train.jsonl", "");
    assert!(failure(&[&path("shards")]).contains("train.jsonl"));
}

#[cfg(unix)]
#[test]
fn links_and_strange_names_do_no_harm() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let folder = TempDir::new().expect("a folder");
    write(&folder, "z/a.wav", "");
    std::os::unix::fs::symlink(folder.path(), folder.path().join("z/loop")).expect("a link");
    // Found under its own name, though the link comes first.
    std::os::unix::fs::symlink(folder.path().join("z"), folder.path().join("link")).expect("a link");
    let strange = folder.path().join("z").join(OsStr::from_bytes(b"\xff.wav"));
    std::fs::write(&strange, "").expect("a file");
    let utterances = load(&[folder.path()]);
    let paths: Vec<_> = utterances.iter().map(|u| u.audio.path().expect("a file").to_path_buf()).collect();
    assert_eq!(paths, [folder.path().join("z/a.wav"), strange]);
}

/// As many recordings as LibriSpeech has. `cargo test --release --lib sources -- --ignored --nocapture large`
/// prints the figures of a manifest as NeMo writes it.
#[test]
#[ignore = "takes seconds, and writes 100 MB"]
fn large_manifests_are_loaded_fast() {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("m.jsonl");
    let mut file = std::io::BufWriter::new(std::fs::File::create(&path).expect("a file"));
    let words = "he hoped there would be stew for dinner turnips and carrots and bruised potatoes ".repeat(3);
    for at in 0..281_241 {
        let name = format!(
            "LibriSpeech/train-clean-360/{}/{}/{}-{}-{at:04}.flac",
            at / 120,
            at / 40,
            at / 120,
            at / 40
        );
        let text = &words[..150 + at % 70];
        writeln!(
            file,
            r#"{{"audio_filepath": "{name}", "duration": 12.25, "text": "{text}", "speaker": "{}"}}"#,
            at / 120
        )
        .expect("a line");
    }
    file.flush().expect("a file");
    let resident = || {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap_or_default().to_owned();
        line.split_whitespace().nth(1).and_then(|kib| kib.parse::<f64>().ok()).unwrap_or(0.0) / 1000.0
    };
    let (before, begun) = (resident(), web_time::Instant::now());
    let corpus = Corpus::load(&[&path]).expect("a manifest");
    let (seconds, megabytes) = (begun.elapsed().as_secs_f64(), resident() - before);
    println!("{} utterances in {seconds:.2} s and {megabytes:.0} MB", corpus.utterances.len());
    assert!(megabytes < 200.0, "{megabytes} MB");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 64, ..Default::default() })]

    #[test]
    fn parsers_never_panic(text in "(?s).{0,200}", noise in "[{}\\[\\]\":,a-e0-9\"\n\r\t .\\-|]{0,120}") {
        for text in [&text, &noise] {
            for name in ["m.jsonl", "m.csv", "m.tsv", "m.tar", "m.jsonl.gz", "m.parquet"] {
                let _ = Corpus::from_bytes(Path::new(name), text.as_bytes());
            }
            let _ = Corpus::from_bytes(Path::new("m.csv"), format!("ID,wav,duration,start,stop\n{text}").as_bytes());
            let _ = Corpus::from_bytes(Path::new("m.tsv"), format!("client_id\tpath\tsentence\n{text}").as_bytes());
            let _ = Corpus::from_bytes(Path::new("m.jsonl"), format!("{RECORDINGS}{text}").as_bytes());
            let _ = Corpus::from_bytes(Path::new("m.jsonl"), &gzip(text));
            let mut found = Found::keeping_errors();
            let open = |path: &Path| Lines::of_bytes(path, text.as_bytes()).map(Some);
            let _ = kaldi::read(Path::new("k"), open, &mut found);
            let mut named = std::collections::BTreeSet::new();
            let mut lines = Lines::of_bytes(Path::new("x.trans.txt"), text.as_bytes()).expect("text");
            let _ = folder::librispeech(&mut lines, |_| None, &mut found, &mut named);
        }
    }

    #[test]
    fn json_values_of_any_kind_never_panic(
        key in "audio_filepath|duration|text|speaker|offset|channel|label|shard_id|sources|start|recording|supervisions|type|member_start|member_bytes|duration_measured",
        value in "[0-9eE.\\-]{1,12}|null|true|\\[\\]|\\[\\{\\}\\]|\\{\\}|\"\"|\"MonoCut\"",
    ) {
        for line in [
            format!("{{\"audio_filepath\": \"a\", \"{key}\": {value}}}"),
            format!("{{\"id\": \"a\", \"duration\": 1, \"sources\": [{{\"source\": \"a\"}}], \"{key}\": {value}}}"),
            format!("{{\"type\": \"MonoCut\", \"duration\": 1, \"{key}\": {value}}}"),
        ] {
            let _ = Corpus::from_bytes(Path::new("m.jsonl"), line.as_bytes());
        }
    }

    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        for name in ["m.jsonl", "m.csv", "m.tsv", "m.tar", "m.parquet"] {
            let _ = Corpus::from_bytes(Path::new(name), &bytes);
            let _ = Corpus::from_bytes(Path::new(name), &[&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3][..], &bytes].concat());
        }
    }
}

#[test]
fn every_ending_of_a_list_has_a_format() {
    for ending in LISTS {
        for name in [format!("a.{ending}"), format!("A.{}.GZ", ending.to_uppercase())] {
            let path = Path::new(&name);
            assert!(is_list_name(path) && Format::of(Source { path, bytes: Some(b"") }).is_ok(), "{name}");
        }
    }
    for name in ["a.wav", "a", "a.gz", "jsonl", "a.jsonl.wav"] {
        assert!(!is_list_name(Path::new(name)), "{name}");
    }
}

/// The recordings' lines and the faults of a manifest.
fn read_with_errors(folder: &TempDir, name: &str, bytes: &[u8]) -> (Vec<String>, Vec<String>) {
    let path = write(folder, name, bytes);
    let (corpus, faults) = Corpus::read_with_errors(&[&path]).expect("a corpus");
    let line = |origin: &str| origin.rsplit('/').next().unwrap_or_default().to_owned();
    let faults = faults.iter().map(|fault| line(&fault.to_string()));
    (corpus.utterances.iter().map(|utterance| line(&utterance.origin)).collect(), faults.collect())
}

#[test]
fn a_line_that_is_no_text_is_named_and_the_others_are_read() {
    let folder = TempDir::new().expect("a folder");
    let (found, faults) =
        read_with_errors(&folder, "m.csv", b"wav,wrd\na.wav,one\nb.wav,\xE9t\xE9\nc.wav,two\n");
    assert_eq!(found, ["m.csv:2", "m.csv:4"]);
    assert!(matches!(&faults[..], [one] if one.starts_with("m.csv:3: is not UTF-8")), "{faults:?}");
    // In a field of several lines it takes its row with it.
    let (found, faults) = read_with_errors(
        &folder,
        "m.csv",
        b"wav,wrd\na.wav,\"one\n\xE9t\xE9\nx\"\nc.wav,two\nd.wav,\"open\n",
    );
    assert_eq!(found, ["m.csv:5"]);
    assert!(
        faults[0].starts_with("m.csv:3: ") && faults[1].starts_with("m.csv:6: opens a quote"),
        "{faults:?}"
    );
    assert_eq!(faults.len(), 2, "{faults:?}");
    for (name, bytes) in [
        ("m.tsv", &b"client_id\tpath\tsentence\ns\ta.mp3\tone\ns\tb.mp3\t\xE9\ns\tc.mp3\ttwo\n"[..]),
        ("m.jsonl", b"\n{\"audio_filepath\": \"a.wav\"}\n\xE9\n{\"audio_filepath\": \"c.wav\"}\n"),
    ] {
        let (found, faults) = read_with_errors(&folder, name, bytes);
        assert_eq!(found, [format!("{name}:2"), format!("{name}:4")]);
        assert!(faults.len() == 1 && faults[0].starts_with(&format!("{name}:3: is not UTF-8")), "{faults:?}");
    }
    // Training reads no data of which a part is not read.
    let path = write(&folder, "m.csv", b"wav,wrd\na.wav,one\nb.wav,\xE9t\xE9\n");
    assert!(Corpus::load(&[&path]).expect_err("a fault").to_string().contains("m.csv:3"));
}
