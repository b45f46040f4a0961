//! `polymix data`: what is wrong with data is found, and any data become JSON lines with FLAC.

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
