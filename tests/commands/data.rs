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
