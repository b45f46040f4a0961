//! Models of whole utterances: classes and speakers, from training to scores.

use std::path::{Path, PathBuf};

use polymix::weights::Weights;
use serde_json::{Value, json};

use super::{adapter, fails, polymix, text, wav};

const RECIPE: &str = r#"
[model]
d_model = 8
layers = 2
ffn = 16
kernel = 3
channels = [4, 2]
dropout = 0.0
[finetune]
task = "classify"
steps = 4
pooling_width = 4
embedding_width = 6
[finetune.data]
batch_utterances = 4
buckets = 1
[finetune.optimizer]
lr = 1e-2
schedule = { name = "constant" }
[finetune.augmentation]
enabled = false
[run]
log_every = 1
checkpoint_every = 2
validate_every = 4
"#;

/// A folder with a recipe and a manifest of clips of three speakers, who say high and low tones.
struct Bench(tempfile::TempDir);

impl Bench {
    fn new() -> Self {
        let bench = Self(tempfile::tempdir().unwrap());
        std::fs::write(bench.at("r.toml"), RECIPE).unwrap();
        let mut lines = Vec::new();
        for (number, speaker) in ["ann", "bob", "cy"].iter().enumerate() {
            for take in 0..4 {
                let label = ["low", "high"][take % 2];
                let pitch = [0.05, 0.4][take % 2] + 0.01 * number as f32;
                let samples = 8000 + 1600 * take;
                let tone: Vec<f32> = (0..samples).map(|i| 0.3 * (i as f32 * pitch).sin()).collect();
                let name = format!("{speaker}-{take}.wav");
                wav(&bench.at(&name), &tone);
                lines.push(json!({ "audio_filepath": name, "label": label, "speaker": speaker }).to_string());
            }
        }
        std::fs::write(bench.at("m.jsonl"), lines.join("\n")).unwrap();
        bench
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// `polymix finetune` into the run `out`.
    fn arguments(&self, out: &str, extra: &[&str]) -> Vec<String> {
        let [recipe, data, out] = ["r.toml", "m.jsonl", out].map(|name| text(&self.at(name)).to_owned());
        let fixed = ["finetune", &recipe, "--data", &data, "--valid", &data, "--out", &out];
        fixed.iter().chain(extra).map(|&one| one.to_owned()).collect()
    }

    #[track_caller]
    fn trains(&self, out: &str, extra: &[&str]) {
        let arguments = self.arguments(out, extra);
        let output = polymix(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
        assert!(output.status.success(), "{output:?}");
    }

    #[track_caller]
    fn refused(&self, code: i32, out: &str, extra: &[&str], parts: &[&str]) {
        let arguments = self.arguments(out, extra);
        fails(code, &arguments.iter().map(String::as_str).collect::<Vec<_>>(), parts);
    }

    fn read(&self, file: &str) -> String {
        std::fs::read_to_string(self.at(file)).unwrap()
    }
}

/// What a command prints as JSON.
#[track_caller]
fn json_of(arguments: &[&str]) -> Value {
    let output = polymix(arguments);
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn tensors(path: &Path) -> Weights {
    Weights::parse(&std::fs::read(path).unwrap()).unwrap()
}

#[test]
fn classes_from_training_to_scores() {
    if !adapter() {
        return;
    }
    let bench = Bench::new();
    let at = |name: &str| text(&bench.at(name)).to_owned();
    bench.trains("run", &[]);
    let config: Value = serde_json::from_str(&bench.read("run/best/config.json")).unwrap();
    assert_eq!((&config["task"], &config["labels"]), (&json!("classify"), &json!(["high", "low"])));
    assert!(!bench.at("run/best/vocab.json").exists());
    assert!(bench.read("run/best/README.md").contains("validation accuracy"));
    let metrics = bench.read("run/metrics.jsonl");
    let line: Value = serde_json::from_str(metrics.lines().next_back().unwrap()).unwrap();
    assert!((0.0..=1.0).contains(&line["accuracy"].as_f64().unwrap()), "{line}");
    assert!(line.get("wer").is_none());

    // Cut off in the middle, the same bits.
    bench.trains("cut", &["--limit-steps", "2"]);
    bench.trains("cut", &["--resume"]);
    let model = |run: &str| std::fs::read(bench.at(run).join("last/model.safetensors")).unwrap();
    assert_eq!(model("run"), model("cut"));
    bench.refused(2, "cut", &["--resume", "--set", "finetune.target=speaker"], &["finetune.target"]);
    let speakers = "finetune.target='speaker'";
    bench.refused(2, "init", &["--init", &at("run"), "--set", speakers], &["finetune.target", "new_head"]);

    // A frozen encoder has the bits that it began with, a new head has its own classes.
    let frozen =
        ["--set", "finetune.freeze_encoder=true", "--set", "finetune.new_head=true", "--set", speakers];
    bench.trains("frozen", &[&frozen[..], &["--init", &at("run")]].concat());
    let (before, after) = (
        tensors(&bench.at("run/best/model.safetensors")),
        tensors(&bench.at("frozen/last/model.safetensors")),
    );
    let mut encoder = 0;
    for (name, shape, values) in before.iter().filter(|(name, ..)| !name.starts_with("head.")) {
        assert_eq!(after.get(name), Some((shape, values)), "{name}");
        encoder += 1;
    }
    assert!(encoder > 10);
    assert_eq!(after.get("head.linear.bias").unwrap().0.dims(), [3]);
    bench.trains("frozen", &[&frozen[..], &["--resume", "--set", "finetune.steps=5"]].concat());

    // Scores: of the clips, of one of a class that was not learned, of one that cannot be read.
    let more = format!(
        "{}\n{}\n{}",
        bench.read("m.jsonl"),
        json!({ "audio_filepath": "ann-0.wav", "label": "middle" }),
        json!({ "audio_filepath": "gone.wav", "label": "low" })
    );
    std::fs::write(bench.at("more.jsonl"), more).unwrap();
    let (run, data, svg) = (at("run"), at("more.jsonl"), at("confusion.svg"));
    let scores = json_of(&["--quiet", "evaluate", &run, "--data", &data, "--json", "--svg", &svg]);
    assert_eq!(scores["utterances"], 13);
    assert_eq!(scores["labels"], json!(["high", "low", "middle"]));
    assert_eq!(scores["left_out"].as_array().unwrap().len(), 1);
    let confusion: Vec<Vec<u64>> = serde_json::from_value(scores["confusion"].clone()).unwrap();
    let sum = |row: &Vec<u64>| row.iter().sum::<u64>();
    assert_eq!(confusion.iter().map(sum).collect::<Vec<_>>(), [6, 6, 1]);
    let right = (0..3).map(|at| confusion[at][at]).sum::<u64>();
    assert_eq!(scores["accuracy"], right as f64 / 13.0);
    assert_eq!(scores["results"][0]["label"], "low");
    assert!(bench.read("confusion.svg").contains(">middle</text>"));
    // The same clip, alone and beside others: the same probability.
    std::fs::write(bench.at("one.jsonl"), bench.read("m.jsonl").lines().next().unwrap()).unwrap();
    let alone = json_of(&["--quiet", "evaluate", &run, "--data", &at("one.jsonl"), "--json"]);
    let probability = |scores: &Value| scores["results"][0]["probability"].as_f64().unwrap();
    assert!((probability(&alone) - probability(&scores)).abs() < 1e-5);

    let output = polymix(&["info", &run]);
    assert!(String::from_utf8_lossy(&output.stdout).contains("2: high, low"));
    assert!(polymix(&["convert", &run, "--dtype", "f16", "--out", &at("half")]).status.success());
    let half = json_of(&["--quiet", "evaluate", &at("half"), "--data", &at("m.jsonl"), "--json"]);
    assert_eq!(half["utterances"], 12);
    let clip = at("ann-0.wav");
    fails(1, &["transcribe", &run, &clip], &["classifier"]);
    fails(1, &["embed", &run, &clip, "--out", &at("e.safetensors")], &["classifier", "verify"]);
    fails(2, &["evaluate", &run, "--data", &data, "--trials", &data], &["--trials", "classifier"]);
    let layers = at("layers.safetensors");
    assert!(polymix(&["encode", &run, &clip, "--out", &layers]).status.success());
    let layers = tensors(Path::new(&layers));
    assert!(layers.get("ann-0.layer.1").is_some() && layers.get("ann-0.logits").is_none());
}

#[test]
fn classes_that_are_missing_or_one_are_named() {
    let bench = Bench::new();
    let line = |fields: Value| fields.to_string();
    let write = |lines: &[String]| std::fs::write(bench.at("m.jsonl"), lines.join("\n")).unwrap();
    write(&[line(json!({ "audio_filepath": "ann-0.wav", "text": "x" }))]);
    if !adapter() {
        return;
    }
    bench.refused(1, "run", &[], &["m.jsonl:1", "`label`", "finetune.target"]);
    write(&[line(json!({ "audio_filepath": "ann-0.wav", "label": "x" }))]);
    bench.refused(1, "run", &[], &["one class", "\"x\""]);
    bench.refused(
        2,
        "run",
        &["--set", "finetune.task=ctc", "--set", "finetune.target=label"],
        &["finetune.target"],
    );
    bench.refused(2, "run", &["--set", "finetune.task=sort"], &["finetune.task", "verify"]);
}

#[test]
fn speakers_from_training_to_scores() {
    if !adapter() {
        return;
    }
    let bench = Bench::new();
    let at = |name: &str| text(&bench.at(name)).to_owned();
    bench.trains("run", &["--set", "finetune.task=verify"]);
    let config: Value = serde_json::from_str(&bench.read("run/best/config.json")).unwrap();
    assert_eq!((&config["task"], &config["labels"]), (&json!("verify"), &json!(["ann", "bob", "cy"])));
    assert!(bench.read("run/best/README.md").contains("validation EER"));

    let (run, out) = (at("run"), at("e.safetensors"));
    let clips = [at("ann-0.wav"), at("bob-3.wav"), at("cy-1.wav")];
    let embed = |out: &str, clips: &[String]| {
        let clips: Vec<&str> = clips.iter().map(String::as_str).collect();
        let output = polymix(&[&["embed", &run, "--out", out][..], &clips[..]].concat());
        assert!(output.status.success(), "{output:?}");
        tensors(Path::new(out))
    };
    let together = embed(&out, &clips);
    for (clip, name) in clips.iter().zip(["ann-0.embedding", "bob-3.embedding", "cy-1.embedding"]) {
        let (shape, values) = together.get(name).unwrap();
        assert_eq!(shape.dims(), [1, 6]);
        assert!((values.iter().map(|x| x * x).sum::<f32>() - 1.0).abs() < 1e-5);
        let alone = embed(&at("alone.safetensors"), std::slice::from_ref(clip));
        let off = alone.get(name).unwrap().1.iter().zip(values).map(|(a, b)| (a - b).abs());
        assert!(off.fold(0.0, f32::max) < 1e-5, "{name}");
    }

    let (data, svg) = (at("m.jsonl"), at("det.svg"));
    let all = json_of(&["--quiet", "evaluate", &run, "--data", &data, "--json", "--svg", &svg]);
    assert_eq!((&all["trials"], &all["targets"], &all["speakers"]), (&json!(66), &json!(18), &json!(3)));
    assert!((0.0..=1.0).contains(&all["eer"].as_f64().unwrap()) && all["eer_ci"].is_array());
    assert!(bench.read("det.svg").contains("false alarms"));

    std::fs::write(bench.at("t.txt"), "1 ann-0.wav ann-2.wav\n0 ann-0 bob-3\nbob-3.wav cy-1.wav nontarget\n")
        .unwrap();
    let trials = at("t.txt");
    let listed = json_of(&["--quiet", "evaluate", &run, "--data", &data, "--trials", &trials, "--json"]);
    assert_eq!(
        (&listed["trials"], &listed["targets"], &listed["utterances"]),
        (&json!(3), &json!(1), &json!(4))
    );
    let score = listed["results"][1]["score"].as_f64().unwrap();
    let of = |name: &str| together.get(name).unwrap().1;
    let cosine: f32 = of("ann-0.embedding").iter().zip(of("bob-3.embedding")).map(|(a, b)| a * b).sum();
    assert!((score - f64::from(cosine)).abs() < 1e-5, "{score} {cosine}");
    std::fs::write(bench.at("t.txt"), "1 ann-0.wav eve.wav\n").unwrap();
    fails(1, &["evaluate", &run, "--data", &data, "--trials", &trials], &["t.txt:1", "eve.wav"]);
}

#[test]
fn probes_of_every_layer() {
    if !adapter() {
        return;
    }
    let bench = Bench::new();
    let at = |name: &str| text(&bench.at(name)).to_owned();
    bench.trains("run", &["--set", "model.mixer=['pom','regular-mha']", "--limit-steps", "1"]);
    let (run, data, out) = (at("run"), at("m.jsonl"), at("probes"));
    let arguments = ["--quiet", "probe", &run, "--data", &data, "--out", &out, "--json"];
    let report = json_of(&arguments);
    assert_eq!(report, serde_json::from_str::<Value>(&bench.read("probes/probe.json")).unwrap());
    // Six clips of each of two classes, of which the fifth is held out.
    assert_eq!((&report["train_utterances"], &report["test_utterances"]), (&json!(10), &json!(2)));
    let layers = report["layers"].as_array().unwrap();
    assert_eq!(layers.iter().map(|layer| &layer["mixer"]).collect::<Vec<_>>(), ["pom", "regular-mha"]);
    let weights: f64 = layers.iter().map(|layer| layer["weight"].as_f64().unwrap()).sum();
    assert!((weights - 1.0).abs() < 1e-5);
    // Tones of two pitches are told by any layer.
    assert_eq!((&layers[0]["accuracy"], &report["sum"]["accuracy"]), (&json!(1.0), &json!(1.0)));
    assert!(bench.read("probes/probe.svg").contains("weighted sum"));
    assert_eq!(json_of(&arguments), report);
    let test = ["--test", &data, "--target", "speaker"];
    let report = json_of(&[&arguments[..], &test].concat());
    assert_eq!((&report["test_utterances"], &report["held_out"]), (&json!(12), &json!(false)));
    assert_eq!(report["labels"], json!(["ann", "bob", "cy"]));
}
