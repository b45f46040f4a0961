//! The `polymix` binary on wrong usage and bad input: exit codes, and errors of one sentence that name the
//! file, line or value.

#![cfg(feature = "cli")]

mod adapt;
mod convert;
mod data;
mod decode;
mod decoders;
mod encode;
mod evaluate;
mod import;
mod recognizers;
mod runs;
mod subwords;
mod tasks;
mod transcribe;
mod tuned;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use polymix::audio::{BANDS, Normalization, Padding, SAMPLE_RATE, Stats};
use polymix::models::{CtcHead, ModelKind, PreprocessorConfig, SavedConfig, SavedModel};
use polymix::recipe::{FinetuneConfig, Head, ModelConfig, ModelOptions};
use polymix::text::Vocabulary;
use polymix::weights::{Precision, Weights};

const RECIPE: &str = "[model]\nd_model = 8\nlayers = 1\nffn = 16\nkernel = 3\nchannels = [4, 2]\n\
                      [finetune]\nsteps = 1\nhead = \"linear\"\n[finetune.data]\nbatch_utterances = 1\n\
                      [finetune.augmentation]\nenabled = false\n[pretrain]\nsteps = 1\n";

/// The binary, on the device of the tests.
fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_polymix"));
    if let Ok(device) = std::env::var("POLYMIX_DEVICE") {
        command.args(["--device", &device]);
    }
    command
}

fn polymix(arguments: &[&str]) -> Output {
    let mut command = match arguments.contains(&"--device") {
        true => Command::new(env!("CARGO_BIN_EXE_polymix")),
        false => command(),
    };
    command.args(arguments).output().expect("the binary is built")
}

/// The command fails with `code` and one line on stderr, which holds all of `parts`.
#[track_caller]
fn fails(code: i32, arguments: &[&str], parts: &[&str]) -> Output {
    let arguments = [&["--quiet"], arguments].concat();
    let output = polymix(&arguments);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {stderr}");
    let errors: Vec<&str> = stderr.lines().filter(|line| line.starts_with("error: ")).collect();
    assert_eq!(errors.len(), 1, "{arguments:?}: {stderr}");
    for part in parts {
        assert!(errors[0].contains(part), "{} lacks {part}", errors[0]);
    }
    assert!(!stderr.contains("panicked") && !stderr.contains("internal error"), "{stderr}");
    output
}

/// Whether there is an adapter to test with.
fn adapter() -> bool {
    static REASON: OnceLock<Option<String>> = OnceLock::new();
    let reason = REASON.get_or_init(|| {
        let output = polymix(&["devices", "--json"]);
        (!output.status.success()).then(|| String::from_utf8_lossy(&output.stderr).into_owned())
    });
    let Some(reason) = reason else { return true };
    assert_ne!(std::env::var("GPU").as_deref(), Ok("required"), "{reason}");
    eprintln!("skipped: {reason}");
    false
}

/// A model with drawn weights.
fn model() -> SavedModel {
    let vocabulary = Vocabulary::english();
    let finetune = FinetuneConfig { head: Head::Linear, ..FinetuneConfig::default() };
    let model =
        ModelConfig { d_model: 8, layers: 1, ffn: 16, kernel: 3, channels: [4, 2], ..ModelConfig::default() };
    let kind = ModelKind::Ctc(CtcHead::new(&finetune, vocabulary.len()));
    let config = SavedConfig { kind, model, options: ModelOptions::default(), bands: BANDS };
    let weights = drawn(&config);
    let preprocessor = PreprocessorConfig {
        sampling_rate: SAMPLE_RATE,
        silence: 0.1,
        normalization: Normalization::Global(Stats { mean: vec![-40.0; BANDS], std: vec![15.0; BANDS] }),
        padding: Padding::Masked,
    };
    SavedModel { config, weights, preprocessor, vocabulary: Some(vocabulary) }
}

/// Weights of a model, drawn as at the beginning of training.
fn drawn(config: &SavedConfig) -> Weights {
    let mut weights = Weights::default();
    for parameter in config.parameters().unwrap() {
        let values = parameter.init.draw(&parameter.name, &parameter.shape, 1);
        weights.insert(parameter.name, parameter.shape, values).unwrap();
    }
    weights
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a temporary folder has a plain name")
}

/// Writes a mono WAV at 16 kHz.
fn wav(path: &Path, samples: &[f32]) {
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: SAMPLE_RATE,
        bits_per_sample: 32,
        sample_format: hound::SampleFormat::Float,
    };
    let mut writer = hound::WavWriter::create(path, spec).unwrap();
    samples.iter().for_each(|&sample| writer.write_sample(sample).unwrap());
    writer.finalize().unwrap();
}

fn tone(seconds: f32) -> Vec<f32> {
    (0..(seconds * 16_000.0) as usize).map(|i| 0.3 * (i as f32 * 0.05).sin()).collect()
}

fn flac() -> Vec<u8> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/flac");
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(corpus).expect("the project's corpus").map(|e| e.unwrap().path()).collect();
    files.sort();
    std::fs::read(&files[0]).unwrap()
}

#[test]
fn wrong_usage_exits_with_2() {
    assert_eq!(polymix(&[]).status.code(), Some(2));
    fails(2, &["evalute"], &["evaluate"]);
    fails(2, &["transcribe"], &["not provided", "<AUDIO>"]);
    fails(2, &["pretrain", "r.toml", "--data", "x", "--resum"], &["--resum", "--resume"]);
    fails(2, &["evaluate", "m", "--data", "x", "--decoder", "bean"], &["bean", "beam"]);
    fails(2, &["evaluate", "m", "--data", "x", "--limit-steps", "0"], &["--limit-steps"]);
    for arguments in [["--help", "--quiet"], ["transcribe", "--help"], ["--version", "--quiet"]] {
        let output = polymix(&arguments);
        assert_eq!(output.status.code(), Some(0));
        assert!(!output.stdout.is_empty() && output.stderr.is_empty());
    }
}

#[test]
fn wrong_recipes_are_named_with_line_and_key() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = folder.path().join("r.toml");
    let run = |extra: &[&'static str], code, parts: &[&str]| {
        let fixed = ["pretrain", text(&recipe), "--data", "nowhere", "--out", "nowhere"];
        fails(code, &[&fixed[..], extra].concat(), parts);
    };
    run(&[], 1, &["r.toml", "cannot be read", "correct its name"]);
    std::fs::write(&recipe, "[pretrain]\nstesp = 3\n").unwrap();
    run(&[], 2, &["r.toml:2", "pretrain.stesp", "`steps`"]);
    std::fs::write(&recipe, RECIPE).unwrap();
    run(&["--set", "model.layers=none"], 2, &["setting model.layers=none"]);
    assert!(!Path::new("nowhere").exists());
}

#[test]
fn damaged_models_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model");
    let whole = model();
    whole.save(&path, Precision::F32, "# a model\n").unwrap();
    let output = polymix(&["info", text(&path)]);
    assert!(output.status.success(), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("29 tokens"));

    fails(1, &["info", text(folder.path())], &["config.json"]);
    let file = path.join("model.safetensors");
    let bytes = std::fs::read(&file).unwrap();
    for length in [0, 7, 100, bytes.len() - 1] {
        std::fs::write(&file, &bytes[..length]).unwrap();
        fails(1, &["info", text(&path)], &["model.safetensors"]);
    }
    let mut wrong = whole.clone();
    wrong.weights.insert("head.linear.bias", [28], vec![0.0; 28]).unwrap();
    wrong.save(&path, Precision::F32, "").unwrap();
    fails(1, &["info", text(&path)], &["model.safetensors", "head.linear.bias", "[28]", "[29]"]);
    whole.save(&path, Precision::F32, "").unwrap();
    std::fs::write(path.join("config.json"), "{\"kind\": 3}").unwrap();
    fails(1, &["info", text(&path)], &["config.json"]);
    std::fs::remove_file(path.join("config.json")).unwrap();
    fails(1, &["transcribe", text(&path), "a.wav"], &["config.json"]);
}

#[test]
fn bad_audio_is_named_after_the_good_is_transcribed() {
    if !adapter() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    model().save(&at("model"), Precision::F32, "").unwrap();
    std::fs::write(at("empty.wav"), []).unwrap();
    wav(&at("nothing.wav"), &[]);
    let mut waveform = tone(0.5);
    wav(&at("good.wav"), &waveform);
    waveform[100] = f32::NAN;
    wav(&at("nan.wav"), &waveform);
    let flac = flac();
    std::fs::write(at("cut.flac"), &flac[..flac.len() / 2]).unwrap();
    std::fs::write(at("text.wav"), "this is no audio").unwrap();

    let bad = ["empty.wav", "nothing.wav", "nan.wav", "cut.flac", "text.wav", "absent.wav"];
    let paths: Vec<PathBuf> = bad.iter().chain(&["good.wav"]).map(|name| at(name)).collect();
    let mut arguments = vec!["transcribe", "--json", "--quiet"];
    let model = at("model");
    arguments.push(text(&model));
    arguments.extend(paths.iter().map(|path| text(path)));
    let output = polymix(&arguments);
    assert_eq!(output.status.code(), Some(1));
    let stderr = String::from_utf8_lossy(&output.stderr);
    for name in bad {
        let named = stderr.lines().filter(|line| line.starts_with("error: ") && line.contains(name)).count();
        assert_eq!(named, 1, "{name}: {stderr}");
    }
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json.as_array().map(Vec::len), Some(1));
    assert!(json[0]["audio_filepath"].as_str().unwrap().ends_with("good.wav"));
    assert!(json[0]["words"].is_array() && json[0]["text"].is_string());
    assert_eq!(json[0]["audio_seconds"], 0.5);

    fails(1, &["transcribe", text(&model), text(&at("nan.wav"))], &["nan.wav", "sample 100"]);
    fails(1, &["transcribe", text(&model), text(&at("good.wav")), "--device", "nosuch"], &["nosuch"]);
}

#[test]
fn bad_manifests_are_named_with_the_line() {
    if !adapter() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    model().save(&at("model"), Precision::F32, "").unwrap();
    wav(&at("a.wav"), &tone(0.6));
    let good = r#"{"audio_filepath": "a.wav", "duration": 0.6, "text": "One two"}"#;
    let write = |name: &str, second: &str| std::fs::write(at(name), format!("{good}\n{second}\n")).unwrap();
    write("good.jsonl", good);
    write("field.jsonl", r#"{"duration": 0.6, "text": "one"}"#);
    write("label.jsonl", r#"{"audio_filepath": "a.wav", "duration": 0.6}"#);
    write("absent.jsonl", r#"{"audio_filepath": "b.wav", "duration": 0.6, "text": "one"}"#);
    write("foreign.jsonl", r#"{"audio_filepath": "a.wav", "duration": 0.6, "text": "na\u00efve"}"#);
    let evaluate = |name: &str, extra: &[&'static str], parts: &[&str]| {
        let (model, data) = (at("model"), at(name));
        let fixed = ["evaluate", text(&model), "--data", text(&data)];
        fails(1, &[&fixed[..], extra].concat(), parts);
    };
    evaluate("field.jsonl", &[], &["field.jsonl:2", "audio_filepath"]);
    evaluate("label.jsonl", &[], &["label.jsonl:2", "text"]);
    evaluate("absent.jsonl", &["--strict"], &["b.wav"]);
    evaluate("nowhere.jsonl", &[], &["nowhere.jsonl"]);

    // A bad file is named and counted; a reference may hold any character.
    for (name, left_out, utterances) in [("absent.jsonl", 1, 1), ("foreign.jsonl", 0, 2)] {
        let output =
            polymix(&["evaluate", text(&at("model")), "--data", text(&at(name)), "--json", "--quiet"]);
        assert!(output.status.success(), "{output:?}");
        let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(json["left_out"].as_array().map(Vec::len), Some(left_out));
        assert_eq!(json["utterances"], utterances);
        assert_eq!(json["results"].as_array().map(Vec::len), Some(utterances));
        for key in ["wer", "cer", "audio_seconds", "seconds", "rtf"] {
            assert!(json[key].is_f64(), "{key}");
        }
        assert_eq!(json["wer_ci"].as_array().map(Vec::len), Some(2));
        assert_eq!(String::from_utf8_lossy(&output.stderr).contains("b.wav"), left_out == 1);
    }

    std::fs::write(at("r.toml"), RECIPE).unwrap();
    let train = |name: &str, code, parts: &[&str]| {
        let (recipe, data, valid, out) = (at("r.toml"), at(name), at("good.jsonl"), at("run"));
        let data = ["--data", text(&data), "--valid", text(&valid), "--out", text(&out)];
        fails(code, &[&["finetune", text(&recipe)], &data[..]].concat(), parts);
    };
    train("foreign.jsonl", 1, &["'ï'", "naïve", "vocabulary"]);
    train("label.jsonl", 1, &["label.jsonl:2", "text"]);
    train("field.jsonl", 1, &["field.jsonl:2", "audio_filepath"]);
}

#[test]
fn the_demo_leaves_other_folders_alone() {
    if !adapter() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("thesis.txt");
    std::fs::write(&file, "years of work").unwrap();
    fails(1, &["demo", "--out", text(folder.path())], &["--out"]);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "years of work");
}

#[test]
fn wrong_profiles_exit_with_2() {
    let usage = |arguments: &[&str], parts: &[&str]| {
        fails(2, &[&["profile", "--dry-run"], arguments].concat(), parts);
    };
    usage(&["--seconds", "0"], &["--seconds", "0.1"]);
    usage(&["--seconds", "10,nan"], &["nan", "--seconds"]);
    usage(&["--batch", "0"], &["--batch"]);
    usage(&["--mode", "training"], &["--mode", "train"]);
    usage(&["--mixers", "pom,pomm"], &["\"pomm\"", "summary-mixing"]);
    usage(&["--mixers", "pom,pom"], &["pom twice"]);
    usage(&["--set", "model.heads=9", "--mixers", "fastformer"], &["model.heads", "fastformer"]);
    usage(&["--kernels"], &["--kernels", "--dry-run"]);
    fails(1, &["profile", "absent.toml", "--dry-run"], &["absent.toml"]);
}

#[test]
fn plans_are_profiled_without_an_adapter() {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_polymix"))
        .args(["profile", "--dry-run", "--seconds", "20,10", "--mixers", "summary-mixing,pom", "--out"])
        .args([
            folder.path().as_os_str(),
            "--batch".as_ref(),
            "6".as_ref(),
            "--mode".as_ref(),
            "train".as_ref(),
        ])
        .env("VK_DRIVER_FILES", "/nonexistent")
        .env("VK_ICD_FILENAMES", "/nonexistent")
        .env("__EGL_VENDOR_LIBRARY_FILENAMES", "/nonexistent")
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let read = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
    let csv = read("profile.csv");
    let lines: Vec<&str> = csv.lines().collect();
    let contract = "mixer,parameters,seconds,batch,mode,ms_median,ms_min,ms_max,peak_bytes,adapter";
    assert!(lines[0].starts_with(contract), "{csv}");
    // Models in the order of the command line, lengths ascending.
    for (line, start) in lines[1..].iter().zip([
        "summary-mixing,93128808,10,6,train,,,,",
        "summary-mixing,93128808,20,6,train,,,,",
        "pom,95608152,10,6,train,,,,",
        "pom,95608152,20,6,train,,,,",
    ]) {
        assert!(line.starts_with(start), "{line}");
    }
    assert_eq!(lines.len(), 5);
    let json: serde_json::Value = serde_json::from_str(&read("profile.json")).unwrap();
    assert_eq!((&json["dry_run"], &json["batch"], &json["mode"]), (&true.into(), &6.into(), &"train".into()));
    assert_eq!(json["rows"].as_array().map(Vec::len), Some(4));
    assert!(json["limits"]["max_binding"].is_u64() && json["rows"][0]["ms_median"].is_null());
    let svg = read("profile.svg");
    for text in ["Operations", "Memory", "GiB", "summary-mixing", "pom", "seconds"] {
        assert!(svg.contains(text), "{text}");
    }
    let table = String::from_utf8_lossy(&output.stdout);
    assert!(table.contains("95.61 M") && table.contains("93.13 M"), "{table}");
}

#[test]
fn cards_that_are_not_here_are_modelled() {
    let folder = tempfile::tempdir().unwrap();
    let (recipe, card) = (folder.path().join("r.toml"), folder.path().join("card.toml"));
    std::fs::write(&recipe, RECIPE).unwrap();
    let mine = "name = \"mine\"\nf32_tflops = 10\nbandwidth_gbps = 100\nmemory_gib = 0.01\n";
    std::fs::write(&card, mine).unwrap();
    let run = |arguments: &[&str]| {
        let fixed = ["profile", text(&recipe), "--seconds", "1", "--mode", "train", "--dry-run"];
        let output = Command::new(env!("CARGO_BIN_EXE_polymix"))
            .args([&fixed, arguments].concat())
            .env("VK_DRIVER_FILES", "/nonexistent")
            .env("VK_ICD_FILENAMES", "/nonexistent")
            .env("__EGL_VENDOR_LIBRARY_FILENAMES", "/nonexistent")
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        let (out, err) =
            (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
        (out, err)
    };
    let json = |arguments: &[&str]| {
        let (out, _) = run(&[arguments, &["--json"]].concat());
        serde_json::from_str::<serde_json::Value>(&out).unwrap()["rows"][0].clone()
    };
    let plain = json(&["--gpu", text(&card)]);
    let number = |row: &serde_json::Value, key: &str| row[key].as_f64().unwrap_or_default();
    assert!(number(&plain, "modelled_ms") > 8e-3 * number(&plain, "dispatches"), "{plain}");
    assert!(number(&plain, "bound_bytes") > 1e5 && plain["ms_median"].is_null(), "{plain}");
    assert_eq!(plain["cost"]["gpu"], "mine");
    let classes = plain["cost"]["classes"].as_array().unwrap();
    let sum: f64 = classes.iter().map(|class| number(class, "modelled_ms")).sum();
    assert!((sum - number(&plain, "modelled_ms")).abs() < 1e-9 * sum, "{plain}");
    // Twice as slow launches take as much longer.
    std::fs::write(&card, format!("{mine}launch_us = 16\n")).unwrap();
    let slow = json(&["--gpu", text(&card)]);
    let longer = number(&slow, "modelled_ms") - number(&plain, "modelled_ms");
    assert!((longer - 8e-3 * number(&plain, "dispatches")).abs() < 1e-6, "{longer}");

    let (out, err) = run(&["--gpu", "h100", "--ranks", "8", "--link", "50", "--set", "model.ffn=512"]);
    for part in ["NVIDIA H100", "matmul", "as modelled", "8 ranks with links of 50 GB/s"] {
        assert!(out.contains(part), "{out}");
    }
    assert!(!err.contains("would not run"), "{err}");
    let (_, err) = run(&["--gpu", text(&card), "--set", "model.d_model=128", "--set", "model.ffn=4096"]);
    assert!(err.contains("would not run: ") && err.contains("mine has 0.01 GiB"), "{err}");

    let usage = |arguments: &[&str], parts: &[&str]| {
        fails(2, &[&["profile", "--dry-run"], arguments].concat(), parts);
    };
    usage(&["--gpu", "voodoo2"], &["voodoo2", "rtx4090", "TOML"]);
    usage(&["--gpu", "h100", "--ranks", "2"], &["--link"]);
    usage(&["--gpu", "h100", "--ranks", "2", "--link", "0"], &["--link", "0.001"]);
    usage(&["--gpu", "h100", "--ranks", "2", "--link", "9"], &["--ranks", "--mode train"]);
    std::fs::write(&card, format!("{mine}f16_tflops = true\n")).unwrap();
    usage(&["--gpu", text(&card)], &["card.toml:5", "f16_tflops"]);
    std::fs::write(&card, [0xff; 9]).unwrap();
    usage(&["--gpu", text(&card)], &["card.toml", "TOML"]);
    fails(1, &["profile", "--dry-run", "--gpu", text(folder.path())], &["cannot read the card"]);
}

#[test]
fn a_recipe_is_profiled_by_length_and_kernel() {
    if !adapter() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (recipe, out) = (folder.path().join("r.toml"), folder.path().join("profile"));
    std::fs::write(&recipe, RECIPE).unwrap();
    let fixed = ["profile", text(&recipe), "--seconds", "0.5,0.9", "--batch", "2", "--repeat", "3"];
    let profile = |extra: &[&str]| {
        let output = polymix(&[&fixed[..], extra].concat());
        assert!(output.status.success(), "{output:?}");
        output
    };
    let output = profile(&[
        "--mixers",
        "pom,summary-mixing",
        "--mode",
        "train",
        "--kernels",
        "--json",
        "--out",
        text(&out),
    ]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let written = std::fs::read(out.join("profile.json")).unwrap();
    assert_eq!(json, serde_json::from_slice::<serde_json::Value>(&written).unwrap());
    let rows = json["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 4);
    assert_eq!(json["left_out"].as_array().map(Vec::len), Some(0));
    for row in rows {
        let [min, median, max] = ["ms_min", "ms_median", "ms_max"].map(|key| row[key].as_f64().unwrap());
        assert!(0.0 < min && min <= median && median <= max, "{row}");
        assert_eq!(row["runs"], 3);
        assert!(row["peak_bytes"].as_u64() > Some(0) && row["update_ms"].as_f64() > Some(0.0), "{row}");
        assert!(row["kernels"].as_array().is_none_or(|kernels| kernels.len() > 10), "{row}");
    }
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(stderr.contains("pom, 0.5 s: ") && stderr.contains("summary-mixing, 0.9 s: "), "{stderr}");
    let svg = std::fs::read_to_string(out.join("profile.svg")).unwrap();
    for text in ["Time, forward and backward", "Memory, batch 2", "ms", "GiB", "summary-mixing"] {
        assert!(svg.contains(text), "{text}");
    }
    assert_eq!(std::fs::read_to_string(out.join("profile.csv")).unwrap().lines().count(), 5);

    // The recipe's own mixer; kernels as a table; nothing but results if quiet.
    let output = profile(&["--mode", "finetune", "--kernels", "--quiet"]);
    let table = String::from_utf8_lossy(&output.stdout);
    assert!(output.stderr.is_empty() && table.contains("finetune"), "{output:?}");
    assert!(
        table.contains("ctc/") && table.contains("GFLOP/s") || table.contains("no timestamps"),
        "{table}"
    );
    // No time for anything: an empty table, and every row is named.
    let output = profile(&["--budget-seconds", "0.1", "--quiet", "--set", "model.layers=200"]);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(stderr.contains("left out: pom, 0.9 s: "), "{stderr}");
}

#[test]
fn a_reader_that_goes_away_is_no_panic() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_polymix"))
        .arg("--help")
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.stderr.is_empty(), "{output:?}");
}
