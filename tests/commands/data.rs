//! `polymix data`: defects are found, and all formats are converted to JSON lines with FLAC.

use serde_json::Value;

use super::{fails, polymix, text, tone, wav};

/// A Kaldi folder of two clips of the same tone, of which one is stated to be longer, and one that is gone.
fn kaldi() -> tempfile::TempDir {
    let folder = tempfile::TempDir::new().expect("a folder");
    wav(&folder.path().join("a.wav"), &tone(1.0));
    wav(&folder.path().join("b.wav"), &tone(1.0));
    for (name, content) in [
        ("wav.scp", "a a.wav\nb b.wav\nc gone.wav\n"),
        ("text", "a cafe\u{301} one\nb two\nc three\n"),
        ("utt2spk", "a s\nb s\nc t\n"),
        ("utt2dur", "a 1.0\nb 2.5\nc 1.0\n"),
    ] {
        std::fs::write(folder.path().join(name), content).expect("a file");
    }
    folder
}

#[test]
fn data_are_checked() {
    let folder = kaldi();
    let (source, svg) = (text(folder.path()), folder.path().join("lengths.svg"));
    let output = polymix(&["data", "check", source, "--json", "--svg", text(&svg)]);
    assert!(output.status.success(), "{output:?}");
    let report: Value = serde_json::from_slice(&output.stdout).expect("one document");
    assert_eq!(
        (&report["utterances"], &report["texts"], &report["speakers"]),
        (&2.into(), &2.into(), &1.into())
    );
    assert_eq!((&report["alphabet"]["\u{e9}"], &report["rates"]["16000"]), (&1.into(), &2.into()));
    let kinds: Vec<&Value> =
        report["findings"].as_array().expect("a list").iter().map(|f| &f["kind"]).collect();
    assert_eq!(kinds, ["duration", "same_audio"]);
    assert!(report["left_out"][0]["origin"].as_str().expect("a place").ends_with("wav.scp:3"));
    assert!(std::fs::read_to_string(svg).expect("a chart").starts_with("<svg"));
    let output = polymix(&["data", "check", source]);
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(
        shown.contains("1 have another duration than stated") && shown.contains("1 could not be read"),
        "{shown}"
    );
    fails(1, &["data", "check", source, "--strict"], &["faults (3)"]);
    fails(1, &["data", "check", "absent.jsonl", "--strict"], &["faults (1)"]);
}

#[test]
fn data_are_converted() {
    let folder = kaldi();
    let (source, out) = (text(folder.path()), folder.path().join("out"));
    let convert = || polymix(&["data", "convert", source, "--out", text(&out), "--json"]);
    let output = convert();
    assert!(output.status.success(), "{output:?}");
    let converted: Value = serde_json::from_slice(&output.stdout).expect("one document");
    assert_eq!((&converted["utterances"], &converted["audio_seconds"]), (&2.into(), &2.0.into()));
    assert_eq!(converted["left_out"].as_array().map(Vec::len), Some(1));
    let again: Value = serde_json::from_slice(&convert().stdout).expect("one document");
    assert_eq!(again["kept"], 2);
    let manifest = out.join("manifest.jsonl");
    let output = polymix(&["data", "check", text(&manifest), "--json"]);
    let report: Value = serde_json::from_slice(&output.stdout).expect("one document");
    assert_eq!((&report["utterances"], &report["formats"]["flac"]), (&2.into(), &2.into()));
    fails(1, &["data", "convert", source, "--out", source], &["which is of no conversion"]);
    fails(1, &["data", "convert", source, "--out", text(&out), "--strict"], &["gone.wav"]);
    fails(1, &["data", "convert", "absent.jsonl", "--out", text(&out)], &["absent.jsonl"]);
}

#[test]
fn data_are_packed() {
    let folder = kaldi();
    let (source, out) = (text(folder.path()), folder.path().join("shards"));
    let pack = |more: &[&str]| polymix(&[&["data", "pack", source, "--out", text(&out)], more].concat());
    fails(1, &["data", "pack", source, "--out", text(&out), "--strict"], &["gone.wav"]);
    assert!(!out.exists());
    let output = pack(&["--shard-mb", "1", "--json"]);
    assert!(output.status.success(), "{output:?}");
    let packed: Value = serde_json::from_slice(&output.stdout).expect("one document");
    assert_eq!(
        (&packed["utterances"], &packed["shards"], &packed["files"]),
        (&2.into(), &1.into(), &2.into())
    );
    assert_eq!(packed["left_out"].as_array().map(Vec::len), Some(1));
    let size = out.join("audio_0.tar").metadata().expect("an archive").len();
    assert_eq!(packed["bytes"], size);
    let output = polymix(&["data", "check", text(&out), "--json"]);
    let report: Value = serde_json::from_slice(&output.stdout).expect("one document");
    assert_eq!(
        (&report["utterances"], &report["texts"], &report["speakers"]),
        (&2.into(), &2.into(), &1.into())
    );
    assert_eq!(report["formats"]["wav"], 2);
    // Nothing is replaced.
    fails(1, &["data", "pack", source, "--out", text(&out)], &["holds ", "give another --out"]);
    fails(1, &["data", "pack", source, "--out", source], &["holds ", "give another --out"]);
    fails(1, &["data", "pack", "absent.jsonl", "--out", text(&folder.path().join("x"))], &["absent.jsonl"]);
    assert!(!folder.path().join("x").exists());
    fails(2, &["data", "pack", source, "--out", "x", "--shard-mb", "0"], &["--shard-mb"]);
    std::fs::remove_dir_all(&out).expect("shards");
    let shown = String::from_utf8_lossy(&pack(&[]).stdout).into_owned();
    assert!(shown.contains("shards.jsonl") && shown.contains("left out, could not be read"), "{shown}");
}

/// Killed while it writes, it leaves no folder of shards, and does not stand in the way of the next.
#[cfg(unix)]
#[test]
fn a_killed_pack_leaves_no_shards() {
    let folder = tempfile::TempDir::new().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    wav(&at("a.wav"), &tone(1.0));
    // Opening a pipe that nobody writes waits.
    let made = std::process::Command::new("mkfifo").arg(at("b.mp3")).status().expect("mkfifo");
    assert!(made.success());
    let lines =
        ["a.wav", "b.mp3"].map(|name| format!("{{\"audio_filepath\": \"{name}\", \"duration\": 1}}\n"));
    std::fs::write(at("m.jsonl"), lines.concat()).expect("a file");
    let (source, out) = (at("m.jsonl"), at("out").join("shards"));
    let mut child = super::command()
        .args(["--quiet", "data", "pack", text(&source), "--out", text(&out)])
        .spawn()
        .expect("the binary is built");
    let begun = || {
        let inside = std::fs::read_dir(at("out")).into_iter().flatten().flatten();
        inside.flat_map(|entry| std::fs::read_dir(entry.path())).flatten().count() > 1
    };
    for _ in 0..1500 {
        if begun() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert!(begun() && child.try_wait().expect("a child").is_none(), "it is still at work");
    child.kill().expect("a child");
    child.wait().expect("a child");
    assert!(!out.exists());
    fails(1, &["data", "bench", text(&out)], &["does not exist"]);
    std::fs::write(at("m.jsonl"), &lines[0]).expect("a file");
    let output = polymix(&["data", "pack", text(&source), "--out", text(&out)]);
    assert!(output.status.success(), "{output:?}");
    let names = std::fs::read_dir(at("out")).expect("a folder").flatten().map(|entry| entry.file_name());
    assert_eq!(names.collect::<Vec<_>>(), ["shards"], "nothing is left of the killed one");
}

#[test]
fn data_are_timed() {
    let folder = kaldi();
    let source = text(folder.path());
    let output = polymix(&["data", "bench", source, "--minutes", "1", "--threads", "2", "--json"]);
    assert!(output.status.success(), "{output:?}");
    let bench: Value = serde_json::from_slice(&output.stdout).expect("one document");
    assert_eq!((&bench["utterances"], &bench["threads"]), (&3.into(), &2.into()));
    let formats = bench["formats"].as_array().expect("a list");
    assert_eq!(
        (formats.len(), &formats[0]["format"], &formats[0]["audio_seconds"]),
        (1, &"wav".into(), &2.0.into())
    );
    for stage in ["read", "decode", "features", "batch", "per_core", "in_all"] {
        assert!(formats[0][stage].as_f64().is_some_and(|rate| rate > 0.0), "{stage}: {bench}");
    }
    assert!(formats[0]["resample"].is_null() && bench["left_out"][0]["origin"].is_string());
    let shown = String::from_utf8_lossy(&polymix(&["data", "bench", source]).stdout).into_owned();
    assert!(shown.contains("times real time") && shown.contains("a core"), "{shown}");
    fails(1, &["data", "bench", source, "--strict"], &["gone.wav"]);
    fails(2, &["data", "bench", source, "--threads", "0"], &["--threads"]);
}

#[test]
fn one_channel_of_data_can_be_chosen() {
    let folder = tempfile::TempDir::new().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let spec = hound::WavSpec {
        channels: 2,
        sample_rate: 16_000,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    // A tone, beside silence; and beside itself with the other sign.
    for (name, right) in [("one.wav", 0.0), ("anti.wav", -1.0)] {
        let mut writer = hound::WavWriter::create(at(name), spec).expect("a file");
        for sample in tone(0.5) {
            for sample in [sample, right * sample] {
                writer.write_sample((8000.0 * sample) as i16).expect("a sample");
            }
        }
        writer.finalize().expect("a file");
    }
    let lines =
        ["one.wav", "anti.wav"].map(|name| format!("{{\"audio_filepath\": \"{name}\", \"channel\": 2}}\n"));
    std::fs::write(at("m.jsonl"), lines.concat()).expect("a file");
    let check = |channel: &[&str]| -> (Value, Value, usize) {
        let manifest = at("m.jsonl");
        let output = polymix(&[&["data", "check", text(&manifest), "--json"], channel].concat());
        assert!(output.status.success(), "{output:?}");
        let report: Value = serde_json::from_slice(&output.stdout).expect("one document");
        let findings = report["findings"].as_array().expect("a list");
        let silent = findings.iter().filter(|finding| finding["kind"] == "silent").count();
        (report["utterances"].clone(), report["left_out"][0]["audio_filepath"].clone(), silent)
    };
    // As the manifest says; as asked for; the mean, where one cancels out.
    assert_eq!(check(&[]), (2.into(), Value::Null, 1));
    assert_eq!(check(&["--channel", "1"]), (2.into(), Value::Null, 0));
    let (utterances, left_out, silent) = check(&["--channel", "mix"]);
    assert_eq!((utterances, silent), (1.into(), 0));
    assert!(left_out.as_str().is_some_and(|name| name.ends_with("anti.wav")), "{left_out}");
    let (source, out) = (at("m.jsonl"), at("out"));
    let convert = ["data", "convert", text(&source), "--out", text(&out), "--channel", "1", "--json"];
    let output = polymix(&convert);
    let converted: Value = serde_json::from_slice(&output.stdout).expect("one document");
    assert_eq!((&converted["utterances"], &converted["kept"]), (&2.into(), &0.into()));
    fails(1, &["data", "convert", text(&source), "--out", "/dev/null"], &["/dev/null", "is no folder"]);
}
