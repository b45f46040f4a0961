//! Decoders of `polymix transcribe`, `evaluate` and `tune`: their options, `decoder.json`, and `polymix align`.

use serde_json::Value;

use super::transcribe::talkative;
use super::*;

/// Options that fit the few frames of the tests.
const BEAM: [&str; 6] = ["--beam", "20", "--beam-prune", "-20", "--token-prune", "-8"];

/// A model that writes words: of its output in the tests, one token is the space.
fn wordy() -> SavedModel {
    let tokens = Vocabulary::english()
        .to_json()
        .replace("\"p\"", "\"?\"")
        .replace("\" \"", "\"p\"")
        .replace("\"?\"", "\" \"");
    SavedModel { vocabulary: Some(Vocabulary::from_json(&tokens).unwrap()), ..talkative() }
}

/// A folder with a model that writes something, two clips, their texts and a language model.
fn clips() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    wordy().save(&at("model"), Precision::F32, "").unwrap();
    for (name, pitch) in [("a.wav", 0.05), ("b.wav", 0.11)] {
        let waveform: Vec<f32> =
            (0..16_000).map(|i| 0.3 * (i as f32 * pitch * (1.0 + i as f32 / 9e3)).sin()).collect();
        wav(&at(name), &waveform);
    }
    let found = run(&["transcribe", text(&at("model")), text(&at("a.wav")), text(&at("b.wav")), "--json"]);
    let texts: Vec<&str> = (0..2).map(|i| found[i]["text"].as_str().unwrap()).collect();
    // What the model says, with some of the words missing, and others.
    let said = texts.iter().map(|text| {
        let words: Vec<&str> =
            text.split(' ').enumerate().filter(|(i, _)| i % 3 != 1).map(|(_, w)| w).collect();
        words.join(" ")
    });
    let said: Vec<String> = said.collect();
    let row = |(name, text): (&str, &String)| {
        serde_json::json!({ "audio_filepath": name, "text": text }).to_string() + "\n"
    };
    std::fs::write(at("m.jsonl"), ["a.wav", "b.wav"].into_iter().zip(&said).map(row).collect::<String>())
        .unwrap();
    std::fs::write(at("text"), said.join("\n") + "\nand so on\n").unwrap();
    let trained = polymix(&["lm", "train", text(&at("text")), "--order", "2", "--out", text(&at("lm"))]);
    assert!(trained.status.success(), "{trained:?}");
    folder
}

/// Saves a model that writes words and transcribes streams.
fn save_stream(folder: &Path) {
    let mut model = wordy();
    model.config.model.causal_chunk = Some(4);
    model.preprocessor.padding = Padding::Causal;
    model.save(folder, Precision::F32, "").unwrap();
}

/// The document of a command that succeeds.
fn run(arguments: &[&str]) -> Value {
    let output = polymix(&[&["--quiet"], arguments].concat());
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn beams_of_audio_are_those_of_its_log_probabilities() {
    if !adapter() {
        return;
    }
    let folder = clips();
    let at = |name: &str| folder.path().join(name);
    let (model, clip, lm, logits) = (at("model"), at("a.wav"), at("lm"), at("logits.safetensors"));
    let encoded = polymix(&["encode", text(&model), text(&clip), "--out", text(&logits)]);
    assert!(encoded.status.success(), "{encoded:?}");
    let vocab = model.join("vocab.json");
    let weights = ["--alpha", "0.7", "--beta", "-0.5", "--unknown", "-3", "--n-best", "4", "--json"];
    let options = [&BEAM[..], &["--lm", text(&lm)], &weights].concat();
    let decoded = run(&[&["decode", text(&logits), "--vocab", text(&vocab)], &options[..]].concat());
    let decoded = decoded.as_array().unwrap().iter().find(|one| one["name"] == "a.logits").unwrap();
    let found = run(&[&["transcribe", text(&model), text(&clip)], &options[..]].concat());
    let (beams, expected) = (found[0]["beams"].as_array().unwrap(), decoded["beams"].as_array().unwrap());
    assert_eq!((beams.len(), expected.len()), (4, 4));
    assert_eq!(found[0]["text"], beams[0]["text"]);
    assert_eq!(found[0]["words"], beams[0]["words"]);
    for (beam, expected) in beams.iter().zip(expected) {
        assert_eq!(beam["text"], expected["text"]);
        for key in ["score", "ctc_score"] {
            let (a, b) = (beam[key].as_f64().unwrap(), expected[key].as_f64().unwrap());
            assert!((a - b).abs() < 1e-3 * b.abs().max(1.0), "{key}: {a} {b}");
        }
        for (word, expected) in
            beam["words"].as_array().unwrap().iter().zip(expected["words"].as_array().unwrap())
        {
            assert_eq!(word["word"], expected["word"]);
            // The clip has 0.1 s of silence before it, and up to three feature frames of padding.
            let start = expected["start_frame"].as_f64().unwrap() * 0.04 - word["start"].as_f64().unwrap();
            assert!((0.0..0.14).contains(&start), "{word} {expected}");
            assert!((0.0..=1.0).contains(&word["confidence"].as_f64().unwrap()), "{word}");
        }
    }
    let lines = polymix(
        &[&["transcribe", text(&model), text(&clip), "--quiet"], &options[..options.len() - 1]].concat(),
    );
    let lines = String::from_utf8(lines.stdout).unwrap();
    let second = lines.lines().nth(1).unwrap().split('\t').collect::<Vec<_>>();
    assert_eq!((lines.lines().count(), second[2]), (4, beams[1]["text"].as_str().unwrap()));
    let srt = ["transcribe", text(&model), text(&clip), "--format", "srt", "--n-best", "2"];
    fails(2, &srt, &["--n-best", "--format txt"]);
}

#[test]
fn hot_words_are_preferred_by_their_weights() {
    if !adapter() {
        return;
    }
    let folder = clips();
    let at = |name: &str| folder.path().join(name);
    let (model, clip, hot) = (at("model"), at("a.wav"), at("hot"));
    let transcribe = |options: &[&str]| {
        run(&[&["transcribe", text(&model), text(&clip), "--json"], &BEAM[..], options].concat())
    };
    let found = transcribe(&["--n-best", "20"]);
    let best: Vec<&str> = found[0]["text"].as_str().unwrap().split(' ').collect();
    let others = found[0]["beams"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|beam| beam["text"].as_str().unwrap().split(' '));
    let word = others.into_iter().find(|word| word.len() > 1 && !best.contains(word)).unwrap();
    let has = |found: &Value| found[0]["text"].as_str().unwrap().split(' ').any(|one| one == word);
    // Written in capitals; the model's letters are small.
    std::fs::write(&hot, format!("{}\n", word.to_uppercase())).unwrap();
    let hot_words = ["--hot-words", text(&hot)];
    assert!(has(&transcribe(&hot_words)), "{word}");
    assert!(!has(&transcribe(&[&hot_words[..], &["--hot-word-weight", "-10"]].concat())), "{word}");
    std::fs::write(&hot, format!("{word} 0\n")).unwrap();
    assert!(!has(&transcribe(&hot_words)), "{word}");
    std::fs::write(&hot, "a 1e9\n").unwrap();
    fails(1, &["transcribe", text(&model), text(&clip), "--hot-words", text(&hot)], &["hot: line 1", "1000"]);
}

#[test]
fn a_models_decoder_is_found_and_can_be_replaced() {
    if !adapter() {
        return;
    }
    let folder = clips();
    let at = |name: &str| folder.path().join(name);
    let (model, data, lm) = (at("model"), at("m.jsonl"), at("lm"));
    std::fs::copy(&lm, model.join("lm")).unwrap();
    let settings =
        r#"{"decoder": "beam", "beam": 20, "token_prune": -8, "beam_prune": -20, "alpha": 1.5, "lm": "lm"}"#;
    let evaluate = |options: &[&str]| {
        run(&[&["evaluate", text(&model), "--data", text(&data), "--json"], options].concat())
    };
    let plain = evaluate(&[]);
    assert_eq!((&plain["decoder"], plain.get("greedy")), (&"greedy".into(), None));
    let given = evaluate(&[&BEAM[..], &["--alpha", "1.5", "--lm", text(&lm)]].concat());
    std::fs::write(model.join("decoder.json"), settings).unwrap();
    let found = evaluate(&[]);
    assert_eq!(
        (&found["decoder"], &found["wer"], &found["results"]),
        (&"beam".into(), &given["wer"], &given["results"])
    );
    for key in ["wer", "wer_ci", "cer", "substituted", "inserted", "deleted"] {
        assert_eq!(found["greedy"][key], plain[key], "{key}");
    }
    assert_ne!(found["results"], plain["results"]);
    assert!(
        found["decoding_seconds"].as_f64().unwrap() > 0.0 && found["decoding_share"].as_f64().unwrap() < 1.0
    );
    let errors = |report: &Value, reference: bool, hypothesis: bool| -> u64 {
        let of = |one: &&Value| (!one["said"].is_null(), !one["heard"].is_null()) == (reference, hypothesis);
        report["confusions"]
            .as_array()
            .unwrap()
            .iter()
            .filter(of)
            .map(|one| one["count"].as_u64().unwrap())
            .sum()
    };
    for (key, reference, hypothesis) in
        [("substituted", true, true), ("inserted", false, true), ("deleted", true, false)]
    {
        assert_eq!(errors(&found, reference, hypothesis), found[key].as_u64().unwrap(), "{key}");
    }
    let greedy = evaluate(&["--decoder", "greedy"]);
    assert_eq!(greedy["results"], plain["results"]);
    let table = polymix(&["evaluate", text(&model), "--data", text(&data), "--quiet"]);
    let table = String::from_utf8(table.stdout).unwrap();
    for part in ["\ngreedy  ", "\nbeam    ", "substituted", "decoding takes", "most confused"] {
        assert!(table.contains(part), "{part}: {table}");
    }

    // It goes with the model, whose language model stays where it is.
    let half = at("half");
    assert!(polymix(&["convert", text(&model), "--dtype", "f16", "--out", text(&half)]).status.success());
    let moved: Value = serde_json::from_slice(&std::fs::read(half.join("decoder.json")).unwrap()).unwrap();
    assert_eq!(
        (&moved["alpha"], &moved["lm"]),
        (&1.5.into(), &text(&model.join("lm").canonicalize().unwrap()).into())
    );

    let unread =
        polymix(&["evaluate", text(&model), "--data", text(&data), "--decoder", "greedy", "--alpha", "1"]);
    assert!(
        String::from_utf8_lossy(&unread.stderr).contains("without effect with the greedy decoder"),
        "{unread:?}"
    );
    let bad = |json: &str, parts: &[&str]| {
        std::fs::write(model.join("decoder.json"), json).unwrap();
        fails(1, &["transcribe", text(&model), text(&at("a.wav"))], parts);
    };
    bad(r#"{"beams": 3}"#, &["decoder.json", "unknown field `beams`"]);
    bad(r#"{"decoder": "beam", "alpha": -1}"#, &["decoder.json", "alpha is -1"]);
    bad(r#"{"decoder": "beam", "lm": "gone"}"#, &["model/gone", "cannot be read"]);
}

#[test]
fn tuned_weights_are_those_with_the_fewest_errors() {
    if !adapter() {
        return;
    }
    let folder = clips();
    let at = |name: &str| folder.path().join(name);
    let (model, data, lm, svg) = (at("model"), at("m.jsonl"), at("lm"), at("surface.svg"));
    let fixed = ["tune", text(&model), "--data", text(&data)];
    fails(2, &fixed, &["--lm"]);
    let grid =
        ["--alpha", "0,0.5,2", "--beta", "-2,1", "--beam", "20,5", "--token-prune", "-8", "--lm", text(&lm)];
    let report = run(&[&fixed[..], &grid, &["--svg", text(&svg), "--json"]].concat());
    let surface = report["surface"].as_array().unwrap();
    let weights = |one: &Value| (one["alpha"].as_f64().unwrap(), one["beta"].as_f64().unwrap());
    let tried: Vec<(f64, f64)> = surface.iter().map(weights).collect();
    assert_eq!(tried, [(0.0, -2.0), (0.0, 1.0), (0.5, -2.0), (0.5, 1.0), (2.0, -2.0), (2.0, 1.0)]);
    let wer = |one: &Value| one["wer"].as_f64().unwrap();
    let all = surface.iter().chain(report["beams"].as_array().unwrap());
    let least = all.map(wer).fold(f64::INFINITY, f64::min);
    assert_eq!(wer(&report["rates"]), least);
    assert!(surface.iter().any(|one| wer(one) > least), "{report}");
    let settings: Value =
        serde_json::from_slice(&std::fs::read(model.join("decoder.json")).unwrap()).unwrap();
    assert_eq!((weights(&settings), &settings["decoder"]), (weights(&report["settings"]), &"beam".into()));
    assert_eq!(
        (&settings["token_prune"], &settings["lm"]),
        (&(-8.0).into(), &text(&lm.canonicalize().unwrap()).into())
    );
    let drawn = std::fs::read_to_string(&svg).unwrap();
    assert!(drawn.starts_with("<svg") && drawn.matches(" %<").count() == 6, "{drawn}");
    // Evaluation needs no option any more, and has the same rates.
    let evaluated = run(&["evaluate", text(&model), "--data", text(&data), "--json"]);
    assert_eq!(
        (&evaluated["wer"], &evaluated["greedy"]["wer"]),
        (&report["rates"]["wer"], &report["greedy"]["wer"])
    );

    let table = polymix(&[&fixed[..], &grid, &["--quiet"]].concat());
    let table = String::from_utf8(table.stdout).unwrap();
    for part in
        ["WER by alpha (down) and beta (across), beam 20", " *", "WER by beam", "greedy", "decoder.json"]
    {
        assert!(table.contains(part), "{part}: {table}");
    }
    fails(1, &[&fixed[..], &["--lm", text(&lm), "--alpha", "-1"]].concat(), &["alpha is -1"]);
    fails(1, &[&fixed[..], &["--lm", text(&at("none"))]].concat(), &["none", "cannot be read"]);
}

#[test]
fn a_known_text_gets_its_times() {
    if !adapter() {
        return;
    }
    let folder = clips();
    let at = |name: &str| folder.path().join(name);
    let (model, clip, said) = (at("model"), at("a.wav"), at("said.txt"));
    let found = run(&["transcribe", text(&model), text(&clip), "--json"]);
    let known = found[0]["text"].as_str().unwrap();
    // The best path says this very text.
    let aligned = run(&["align", text(&model), text(&clip), known]);
    assert_eq!((&aligned["text"], &aligned["audio_seconds"]), (&known.into(), &1.0.into()));
    for (word, expected) in
        aligned["words"].as_array().unwrap().iter().zip(found[0]["words"].as_array().unwrap())
    {
        assert_eq!(word["word"], expected["word"]);
        for key in ["start", "end", "confidence"] {
            let (a, b) = (word[key].as_f64().unwrap(), expected[key].as_f64().unwrap());
            assert!((a - b).abs() < 1e-4, "{key}: {word} {expected}");
        }
    }
    // Words stay as they are written, and what the model cannot write is left out.
    std::fs::write(&said, "Hello, it's\n  Me!\n").unwrap();
    let output = polymix(&["align", text(&model), text(&clip), text(&said)]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("'!' once"), "{output:?}");
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    let words: Vec<&str> =
        json["words"].as_array().unwrap().iter().map(|w| w["word"].as_str().unwrap()).collect();
    assert_eq!((words, json["text"].as_str()), (vec!["Hello,", "it's", "Me!"], Some("Hello, it's Me!")));
    let times =
        json["words"].as_array().unwrap().iter().flat_map(|w| [w["start"].as_f64(), w["end"].as_f64()]);
    let times: Vec<f64> = times.map(Option::unwrap).collect();
    assert!(times.is_sorted() && times[0] >= 0.0 && times[5] <= 1.0, "{times:?}");
    let form = |format: &str| {
        let output =
            polymix(&["align", text(&model), text(&clip), text(&said), "--format", format, "--quiet"]);
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(form("vtt").starts_with("WEBVTT\n\n00:00:0"), "{}", form("vtt"));
    assert!(form("srt").starts_with("1\n00:00:0"));
    let tier = form("textgrid");
    assert!(tier.starts_with("File type = \"ooTextFile\"\n") && tier.contains("text = \"Me!\"\n"), "{tier}");

    let align = |text_of: &str, parts: &[&str]| {
        fails(1, &["align", text(&model), text(&clip), text_of], parts);
    };
    align(&"abc ".repeat(30), &["a.wav", "needs 119 frames", "give the text of this audio"]);
    align("one 2", &["\"2\"", "spell it"]);
    align(" ", &["no word"]);
    fails(2, &["align", text(&model), text(folder.path()), "x"], &["2 recordings", "one audio file"]);
}

#[test]
fn words_of_a_stream_stay_once_they_are_settled() {
    if !adapter() {
        return;
    }
    let folder = clips();
    let at = |name: &str| folder.path().join(name);
    save_stream(&at("stream"));
    let arguments = ["transcribe", text(&at("stream")), text(&at("a.wav")), "--json"].map(str::to_owned);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let lm = at("lm");
    for decoder in
        [&["--decoder", "greedy"][..], &BEAM, &[&BEAM[..], &["--lm", text(&lm), "--n-best", "3"]].concat()]
    {
        let whole = run(&[&arguments, decoder].concat());
        let streamed = run(&[&arguments, decoder, &["--stream"]].concat());
        assert_eq!(streamed[0]["text"], whole[0]["text"], "{decoder:?}");
        let words = |json: &Value| json[0]["words"].as_array().unwrap().clone();
        for (word, expected) in words(&streamed).iter().zip(&words(&whole)) {
            for key in ["start", "end", "confidence"] {
                let (a, b) = (word[key].as_f64().unwrap(), expected[key].as_f64().unwrap());
                assert!((a - b).abs() < 1e-3, "{key}: {word} {expected}");
            }
        }
        assert_eq!(streamed[0].get("beams").is_some(), decoder.contains(&"--n-best"));
        let words =
            |json: &Value| json.as_str().unwrap().split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let mut settled = Vec::new();
        for partial in streamed[0]["partials"].as_array().unwrap() {
            let now = words(&partial["settled"]);
            assert!(now.starts_with(&settled) && words(&partial["text"]).starts_with(&now), "{partial}");
            settled = now;
        }
        assert!(words(&whole[0]["text"]).starts_with(&settled), "{settled:?}");
        // The texts of a search may agree on no word of so short a clip.
        assert!(!settled.is_empty() || decoder[1] != "greedy", "{streamed}");
    }
}

#[test]
fn streams_give_sentence_after_sentence() {
    if !adapter() {
        return;
    }
    let folder = clips();
    let at = |name: &str| folder.path().join(name);
    save_stream(&at("stream"));
    let waveform: Vec<f32> =
        (0..96_000).map(|i| 0.3 * (i as f32 * 0.07 * (1.0 + (i % 16_000) as f32 / 9e3)).sin()).collect();
    wav(&at("long.wav"), &waveform);
    let (model, clip) = (at("stream"), at("long.wav"));
    let stream = ["transcribe", text(&model), text(&clip), "--stream", "--endpoint", "--longest", "1"];
    let json = run(&[&stream[..], &["--json"]].concat());
    let found = json[0]["sentences"].as_array().unwrap();
    assert!(found.len() >= 2, "{json}");
    let texts: Vec<&str> = found.iter().map(|sentence| sentence["text"].as_str().unwrap()).collect();
    assert_eq!(json[0]["text"], texts.join(" "));
    let times: Vec<f64> =
        found.iter().flat_map(|s| [s["start"].as_f64().unwrap(), s["end"].as_f64().unwrap()]).collect();
    assert!(times.is_sorted() && times[times.len() - 1] <= 6.0, "{times:?}");

    let lines = polymix(&[&["--quiet"], &stream[..]].concat());
    let line = |at: usize| {
        format!("{}\t{:.2}\t{:.2}\t{}\n", text(&clip), times[2 * at], times[2 * at + 1], texts[at])
    };
    let expected: String = (0..texts.len()).map(line).collect();
    assert_eq!(String::from_utf8(lines.stdout).unwrap(), expected);

    fails(2, &["transcribe", text(&model), text(&clip), "--endpoint"], &["--stream"]);
    fails(2, &[&stream[..], &["--n-best", "2"]].concat(), &["--n-best"]);
    fails(2, &["transcribe", text(&model), text(&clip), "--stream", "--pause-ms", "600"], &["--endpoint"]);
}
