//! `polymix decode` and `polymix lm`.

use serde_json::Value;

use super::{fails, polymix, text};

/// A file of `tests/golden`.
fn golden(name: &str) -> String {
    format!("{}/tests/golden/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn json(arguments: &[&str]) -> Value {
    let output = polymix(&[&["--quiet"], arguments].concat());
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {stderr}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Writes the golden characters as a vocabulary.
fn vocabulary(folder: &std::path::Path) -> std::path::PathBuf {
    let values: Value = serde_json::from_slice(&std::fs::read(golden("decode.json")).unwrap()).unwrap();
    let path = folder.join("vocab.json");
    std::fs::write(&path, values["characters"].to_string()).unwrap();
    path
}

#[test]
fn decode_prints_what_the_library_finds() {
    let folder = tempfile::tempdir().unwrap();
    let vocab = vocabulary(folder.path());
    let (lm, built) = (golden("decode.arpa"), folder.path().join("lm"));
    let output = polymix(&["lm", "build", &lm, "--out", text(&built)]);
    assert!(output.status.success() && String::from_utf8_lossy(&output.stdout).contains("3-grams"));
    let emissions = golden("decode.safetensors");
    // The file also holds tensors of sub-words, which have more tokens.
    let base = ["decode", &emissions, "--vocab", text(&vocab), "--json"];
    let settings = [
        "--beam",
        "20",
        "--beam-prune",
        "-10",
        "--token-prune",
        "-5",
        "--alpha",
        "0.8",
        "--beta",
        "1.2",
        "--unknown",
        "-10",
    ];
    let expected: Value = serde_json::from_slice(&std::fs::read(golden("decode.json")).unwrap()).unwrap();
    let expected = &expected["cases"]["characters.lm"]["found"]["characters.a"];
    for lm in [lm.as_str(), text(&built)] {
        let found = json(&[&base[..], &settings, &["--lm", lm, "--n-best", "5"]].concat());
        assert_eq!(found[0]["name"], "characters.a");
        assert_eq!((found.as_array().unwrap().len(), found[1]["name"].as_str()), (2, Some("characters.b")));
        for (found, expected) in
            found[0]["beams"].as_array().unwrap().iter().zip(expected.as_array().unwrap())
        {
            assert_eq!(found["text"], expected["text"]);
            for key in ["score", "ctc_score"] {
                let (a, b) = (found[key].as_f64().unwrap(), expected[key].as_f64().unwrap());
                assert!((a - b).abs() < 1e-3 * b.abs().max(1.0), "{key}: {a} {b}");
            }
            for (word, expected) in
                found["words"].as_array().unwrap().iter().zip(expected["words"].as_array().unwrap())
            {
                assert_eq!(
                    [&word["word"], &word["start_frame"], &word["end_frame"]],
                    [&expected[0], &expected[1], &expected[2]]
                );
            }
        }
    }
    let greedy = json(&[&base[..], &["--decoder", "greedy"]].concat());
    assert_eq!(greedy[0]["beams"].as_array().unwrap().len(), 1);
    assert_ne!(greedy[0]["beams"][0]["text"], expected[0]["text"]);
}

#[test]
fn bad_input_of_decode_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let vocab = vocabulary(folder.path());
    let path = |name: &str, content: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        text(&path).to_owned()
    };
    let emissions = golden("decode.safetensors");
    let short = path("short.json", r#"["", "a"]"#);
    fails(
        1,
        &["decode", &emissions, "--vocab", &short],
        &["decode.safetensors", "[frames, 2]", "characters.a"],
    );
    let gap = path("gap.json", r#"{"": 0, "a": 2}"#);
    fails(1, &["decode", &emissions, "--vocab", &gap], &["gap.json", "gap"]);
    let garbage = path("garbage.safetensors", "garbage");
    fails(
        1,
        &["decode", &garbage, "--vocab", text(&vocab)],
        &["garbage.safetensors", "no whole safetensors"],
    );
    let lm = path("bad.arpa", "\\data\\\nngram 1=1\n\\1-grams:\n0.5 a\n\\end\\\n");
    fails(1, &["decode", &emissions, "--vocab", text(&vocab), "--lm", &lm], &["bad.arpa:4", "above 0"]);
    let hot = path("hot", "a\nb 1e99\n");
    fails(1, &["decode", &emissions, "--vocab", text(&vocab), "--hot-words", &hot], &["hot: line 2", "1000"]);
    fails(
        1,
        &["decode", &emissions, "--vocab", text(&vocab), "--beam-prune", "3", "--beam", "5"],
        &["beam_prune is 3"],
    );
    fails(2, &["decode", &emissions, "--vocab", text(&vocab), "--alpha", "nan"], &["--alpha", "number"]);
    fails(2, &["decode", &emissions, "--vocab", text(&vocab), "--beam", "0"], &["--beam"]);
}

#[test]
fn decode_reads_models_that_lm_trains() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("text"), "The cat sat\nthe cat sat on the mat\n\nno hat\n").unwrap();
    for out in ["lm", "lm.arpa"] {
        let output =
            polymix(&["lm", "train", text(&path("text")), "--order", "3", "--out", text(&path(out))]);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && stderr.contains("0.5, 1 and 1.5 are used"), "{stderr}");
    }
    let [own, arpa] = ["lm", "lm.arpa"].map(|name| json(&["lm", "info", text(&path(name)), "--json"]));
    assert_eq!(
        (&own["ngrams"], own["order"].as_u64(), own["words"].as_u64()),
        (&arpa["ngrams"], Some(3), Some(8))
    );
    let mut bytes = std::fs::read(path("lm")).unwrap();
    let middle = bytes.len() - 20;
    bytes[middle] ^= 4;
    std::fs::write(path("damaged"), bytes).unwrap();
    fails(1, &["lm", "info", text(&path("damaged"))], &["damaged: ", "no whole language model"]);
    fails(1, &["lm", "info", text(&path("missing"))], &["missing: cannot be read"]);
    std::fs::write(path("marks"), "a b\na </s> b\n").unwrap();
    fails(1, &["lm", "train", text(&path("marks")), "--out", text(&path("x"))], &["marks:2", "</s>"]);
    fails(2, &["lm", "train", text(&path("text")), "--order", "7", "--out", text(&path("x"))], &["order 7"]);
}
