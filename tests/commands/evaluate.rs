//! `polymix evaluate`: which utterances a rate covers.

use serde_json::Value;

use super::*;

/// A folder with a model, a good clip and degenerate ones.
fn clips() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    model().save(&at("model"), Precision::F32, "").unwrap();
    wav(&at("good.wav"), &tone(0.6));
    wav(&at("one.wav"), &[0.1]);
    let mut waveform = tone(0.3);
    waveform[7] = f32::INFINITY;
    wav(&at("inf.wav"), &waveform);
    std::fs::write(at("empty.wav"), "").unwrap();
    folder
}

fn manifest(folder: &Path, name: &str, rows: &[(&str, &str)]) -> PathBuf {
    let row = |(audio, text): &(&str, &str)| {
        serde_json::json!({ "audio_filepath": audio, "duration": 9.0, "text": text }).to_string() + "\n"
    };
    let path = folder.join(name);
    std::fs::write(&path, rows.iter().map(row).collect::<String>()).unwrap();
    path
}

/// The document of a successful evaluation, and what it said on stderr.
fn evaluate(folder: &Path, data: &Path, extra: &[&str]) -> (Value, String) {
    let model = folder.join("model");
    let fixed = ["evaluate", text(&model), "--data", text(data), "--json", "--quiet"];
    let output = polymix(&[&fixed[..], extra].concat());
    assert!(output.status.success(), "{output:?}");
    (serde_json::from_slice(&output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn degenerate_clips_are_left_out_by_name() {
    if !adapter() {
        return;
    }
    let folder = clips();
    let bad = ["one.wav", "inf.wav", "empty.wav", "absent.wav"];
    let rows: Vec<(&str, &str)> =
        [("good.wav", "a b")].into_iter().chain(bad.map(|name| (name, "two"))).collect();
    let data = manifest(folder.path(), "m.jsonl", &rows);
    let (json, stderr) = evaluate(folder.path(), &data, &[]);
    assert_eq!((&json["utterances"], &json["words"]), (&1.into(), &2.into()));
    // The file's length counts, not the manifest's, and that is said.
    assert_eq!(json["audio_seconds"], 0.6);
    assert!(stderr.contains("m.jsonl:1) lasts 0.60 s, not 9 s"), "{stderr}");
    let left_out = json["left_out"].as_array().unwrap();
    assert_eq!(left_out.len(), bad.len());
    for ((line, name), one) in (2..).zip(bad).zip(left_out) {
        assert!(one["audio_filepath"].as_str().unwrap().ends_with(name), "{one}");
        assert!(one["origin"].as_str().unwrap().ends_with(&format!("m.jsonl:{line}")), "{one}");
        assert!(!one["reason"].as_str().unwrap().is_empty(), "{one}");
        assert!(stderr.contains(name), "{stderr}");
    }

    let (model, data) = (folder.path().join("model"), text(&data));
    let output = polymix(&["evaluate", text(&model), "--data", data, "--quiet"]);
    let table = String::from_utf8(output.stdout).unwrap();
    for part in ["1 utterances, 2 words", "left out of the rates: 4 of 5 utterances", "m.jsonl:2", "one.wav"]
    {
        assert!(table.contains(part), "{part}: {table}");
    }
    fails(1, &["evaluate", text(&model), "--data", data, "--strict"], &["m.jsonl:"]);
    let nothing = manifest(folder.path(), "none.jsonl", &rows[1..]);
    fails(
        1,
        &["evaluate", text(&model), "--data", text(&nothing)],
        &["none of the 4 recordings can be scored: 4 unreadable"],
    );
}

/// 0.6 s are 15 frames of 40 ms and those of the silence before them; both commands leave out the same line.
#[test]
fn texts_too_long_for_their_frames_are_left_out_as_in_validation() {
    if !adapter() {
        return;
    }
    let folder = clips();
    let long = "ab".repeat(40);
    let rows = [("good.wav", "a b"), ("good.wav", &*long), ("good.wav", "b"), ("empty.wav", "a")];
    let data = manifest(folder.path(), "m.jsonl", &rows);
    let (json, stderr) = evaluate(folder.path(), &data, &[]);
    assert_eq!((&json["utterances"], &json["words"]), (&2.into(), &3.into()));
    assert_eq!(json["left_out_reasons"], serde_json::json!({ "impossible": 1, "unreadable": 1 }));
    let line = &json["left_out"][0];
    assert!(line["origin"].as_str().unwrap().ends_with("m.jsonl:2"), "{json}");
    assert!(line["reason"].as_str().unwrap().contains("needs 80 encoder frames of 40 ms"), "{json}");
    assert!(stderr.contains("left out: ") && stderr.contains("m.jsonl:2"), "{stderr}");
    let model = folder.path().join("model");
    let strict = manifest(folder.path(), "s.jsonl", &rows[..3]);
    fails(
        1,
        &["evaluate", text(&model), "--data", text(&strict), "--strict"],
        &["s.jsonl:2", "encoder frames"],
    );

    let (recipe, out) = (folder.path().join("r.toml"), folder.path().join("run"));
    std::fs::write(&recipe, "[model]\nd_model = 8\nlayers = 1\nchannels = [2, 2]\n").unwrap();
    let output = polymix(&[
        "finetune",
        text(&recipe),
        "--data",
        text(&data),
        "--valid",
        text(&data),
        "--out",
        text(&out),
        "--limit-steps",
        "1",
        "--quiet",
    ]);
    assert!(output.status.success(), "{output:?}");
    let metrics = std::fs::read_to_string(out.join("metrics.jsonl")).unwrap();
    let mut lines = metrics.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let valid = lines.rfind(|line| line.get("valid_loss").is_some()).unwrap();
    assert_eq!((&valid["utterances"], &valid["left_out_reasons"]), (&2.into(), &json["left_out_reasons"]));
    let left_out = |json: &Value| {
        let mut all: Vec<String> =
            json["left_out"].as_array().unwrap().iter().map(|one| one["origin"].to_string()).collect();
        all.sort();
        all
    };
    assert_eq!(left_out(&valid), left_out(&json));
}

#[test]
fn what_the_model_cannot_write_is_counted_and_can_be_left_out() {
    if !adapter() {
        return;
    }
    let folder = clips();
    let rows = [("good.wav", "Yes. No."), ("good.wav", "caf\u{e9}"), ("good.wav", "maybe")];
    let data = manifest(folder.path(), "m.jsonl", &rows);
    let outside = |extra: &[&str]| {
        let (json, stderr) = evaluate(folder.path(), &data, extra);
        assert!(stderr.contains("2 of 3 texts") && stderr.contains("'.' 2 times"), "{stderr}");
        let outside = json["outside_vocabulary"].clone();
        assert_eq!(outside["utterances"], 2);
        assert_eq!(outside["characters"], serde_json::json!({ ".": 2, "\u{e9}": 1 }));
        assert_eq!(json["results"][0]["text"], "Yes. No.");
        (outside["ignored"] == true, json["cer"].as_f64().unwrap())
    };
    let (counted, ignored) = (outside(&[]), outside(&["--ignore-outside-vocabulary"]));
    assert_eq!((counted.0, ignored.0), (false, true));
    assert_ne!(counted.1, ignored.1);
}

#[test]
fn empty_references_have_no_rate() {
    if !adapter() {
        return;
    }
    let folder = clips();
    let data = manifest(folder.path(), "m.jsonl", &[("good.wav", ""), ("good.wav", " ")]);
    let (json, _) = evaluate(folder.path(), &data, &[]);
    for key in ["wer", "wer_ci", "cer", "cer_ci"] {
        assert!(json[key].is_null(), "{key}: {json}");
    }
    assert_eq!((&json["utterances"], &json["words"]), (&2.into(), &0.into()));
    let model = folder.path().join("model");
    let output = polymix(&["evaluate", text(&model), "--data", text(&data), "--quiet"]);
    assert!(String::from_utf8_lossy(&output.stdout).contains("hold no word"), "{output:?}");
}

#[test]
fn values_that_nothing_reads_are_checked_all_the_same() {
    let folder = clips();
    let model = folder.path().join("model");
    for (setting, part) in [("s1x", "s1x"), ("model.layerz=3", "layerz"), ("finetune.steps=s1x", "s1x")] {
        fails(2, &["info", text(&model), "--set", setting], &["setting", part]);
        fails(2, &["evaluate", text(&model), "--data", "absent", "--set", setting], &["setting", part]);
    }
    fails(2, &["info", text(&model), "--limit-steps", "s1x"], &["s1x"]);
    fails(2, &["info", text(&model), "--seed", "s1x"], &["s1x"]);
    fails(2, &["evaluate", text(&model), "--data", "x", "--channel", "0"], &["--channel", "from 1 on"]);
}
