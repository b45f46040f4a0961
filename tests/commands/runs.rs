//! Files and refusals of runs: scores, resumed and initialized runs, locks.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::Value;

use super::{adapter, command, fails, polymix, text, tone, wav};

const RECIPE: &str = r#"
[model]
mixer = "pom"
d_model = 16
layers = 1
ffn = 32
channels = [4, 2]
kernel = 3
dropout = 0.0
[features]
silence = 0.2
[pretrain]
steps = 2
codes = 16
[pretrain.data]
min_seconds = 0.1
batch_utterances = 4
buckets = 1
[pretrain.optimizer]
lr = 1e-3
schedule = { name = "constant" }
[finetune]
steps = 2
head = "linear"
[finetune.data]
batch_utterances = 4
buckets = 1
[finetune.optimizer]
lr = 1e-3
schedule = { name = "constant" }
[finetune.augmentation]
enabled = false
[run]
log_every = 1
checkpoint_every = 1
validate_every = 2
"#;

/// A folder with a recipe and manifests.
struct Bench(tempfile::TempDir);

impl Bench {
    fn new() -> Self {
        let bench = Self(tempfile::tempdir().unwrap());
        std::fs::write(bench.at("r.toml"), RECIPE).unwrap();
        bench
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A manifest of clips of the corpus: name, duration as listed, text.
    fn manifest(&self, name: &str, clips: &[(&str, f64, &str)]) {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/flac");
        let line = |&(clip, duration, text): &(&str, f64, &str)| {
            let path = if clip.contains('.') {
                PathBuf::from(clip)
            } else {
                corpus.join(clip).with_extension("flac")
            };
            serde_json::json!({ "audio_filepath": path, "duration": duration, "text": text, "speaker": "s" })
                .to_string()
        };
        let lines: Vec<String> = clips.iter().map(line).collect();
        std::fs::write(self.at(name), lines.join("\n")).unwrap();
    }

    /// `polymix finetune` (or pretrain) with `data`, `valid`, into `out`.
    fn arguments(&self, phase: &str, [data, valid, out]: [&str; 3], extra: &[&str]) -> Vec<String> {
        let [recipe, data, valid, out] =
            ["r.toml", data, valid, out].map(|name| text(&self.at(name)).to_owned());
        let fixed = [phase, &recipe, "--data", &data, "--valid", &valid, "--out", &out];
        fixed.iter().chain(extra).map(|&argument| argument.to_owned()).collect()
    }

    #[track_caller]
    fn runs(&self, phase: &str, names: [&str; 3], extra: &[&str]) -> Output {
        let arguments = self.arguments(phase, names, extra);
        let output = polymix(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
        assert!(output.status.success(), "{output:?}");
        output
    }

    #[track_caller]
    fn refused(&self, code: i32, phase: &str, names: [&str; 3], extra: &[&str], parts: &[&str]) -> Output {
        let arguments = self.arguments(phase, names, extra);
        fails(code, &arguments.iter().map(String::as_str).collect::<Vec<_>>(), parts)
    }

    /// Every file of a run with its bytes.
    fn files(&self, run: &str) -> BTreeMap<PathBuf, Vec<u8>> {
        let (mut files, mut folders) = (BTreeMap::new(), vec![self.at(run)]);
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                match path.is_dir() {
                    true => folders.push(path),
                    false => drop(files.insert(path.clone(), std::fs::read(path).unwrap())),
                }
            }
        }
        files
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.at(name)).unwrap()
    }

    fn lines(&self, run: &str) -> Vec<Value> {
        let text = self.read(&format!("{run}/metrics.jsonl"));
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

const TRAIN: [(&str, f64, &str); 4] = [
    ("train-en-us-m3-00", 0.6001, "two"),
    ("train-en-us-m3-01", 1.0066, "three left"),
    ("train-en-us-m3-02", 1.2501, "red eight blue"),
    ("train-en-us-m3-03", 0.6402, "five"),
];
const VALID: [(&str, f64, &str); 2] =
    [("valid-en-us-m4-00", 0.6212, "yellow"), ("valid-en-us-m4-01", 0.9883, "one go")];

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_score_says_what_it_is_of() {
    if !adapter() {
        return;
    }
    let bench = Bench::new();
    bench.manifest("train.jsonl", &TRAIN);
    let moved = [("/moved/a.flac", 0.6, "yellow"), ("/moved/b.flac", 0.9, "one go")];
    bench.manifest("moved.jsonl", &moved);
    for phase in ["finetune", "pretrain"] {
        bench.refused(
            1,
            phase,
            ["train.jsonl", "moved.jsonl", "a"],
            &[],
            &["validation", "moved/a.flac", "moved.jsonl:1"],
        );
        assert!(!bench.at("a").exists(), "a refused run leaves nothing");
    }
    // What a header cannot tell is known when it is read.
    std::fs::write(bench.at("damaged.mp3"), "no audio").unwrap();
    let damaged = bench.at("damaged.mp3");
    bench.manifest("damaged.jsonl", &[(text(&damaged), 0.6, "two")]);
    bench.refused(1, "finetune", ["train.jsonl", "damaged.jsonl", "a"], &[], &["validation", "damaged.mp3"]);

    wav(&bench.at("one.wav"), &[0.5]);
    let one = bench.at("one.wav");
    let clips = [
        VALID[0],
        VALID[1],
        moved[0],
        (text(&damaged), 0.6, "two"),
        (text(&one), 0.5, "two"),
        ("valid-en-us-m4-02", 1.4908, "eight six three"),
        ("valid-en-us-m4-03", 0.6436, "a text that is much longer than the frames of its clip"),
        ("valid-en-us-m4-04", 1.1488, "b\u{e9}"),
    ];
    bench.manifest("mixed.jsonl", &clips);
    let names = ["train.jsonl", "mixed.jsonl", "run"];
    let output = bench.runs("finetune", names, &["--set", "finetune.data.max_seconds=1.3"]);
    let line = bench.lines("run").pop().unwrap();
    assert_eq!((&line["utterances"], &line["loss_utterances"]), (&3.into(), &2.into()), "{line}");
    let reasons = serde_json::json!({
        "unreadable": 2, "too_short": 1, "too_long": 1, "impossible": 1, "outside_vocabulary": 1
    });
    assert_eq!(line["left_out_reasons"], reasons);
    assert_eq!(line["left_out"].as_array().map(Vec::len), Some(6));
    let (stderr, card) = (stderr(&output), bench.read("run/best/README.md"));
    for place in 3..=8 {
        let place = format!("mixed.jsonl:{place}");
        assert!(stderr.contains(&place), "{place}: {stderr}");
        // The card's score is the WER, which the last clip is in.
        assert_eq!(card.contains(&place), !place.ends_with('8'), "{place}: {card}");
    }
    assert_eq!(stderr.matches("mixed.jsonl:7").count(), 1, "each once: {stderr}");
    let table = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(table.contains("of 3 utterances; left out: 2 unreadable"), "{table}");
    assert!(card.contains("of 3 utterances"), "{card}");
    // The mean of the two that have a loss is that of the two alone.
    bench.manifest("two.jsonl", &VALID);
    bench.runs("finetune", ["train.jsonl", "two.jsonl", "two"], &[]);
    let two = bench.lines("two").pop().unwrap();
    let [mixed, alone] = [&line, &two].map(|line| line["valid_loss"].as_f64().unwrap());
    assert!((mixed - alone).abs() < 1e-4 * alone, "{mixed} {alone}");
}

/// Copies of the validation clips, which a test can take away.
fn own_validation(bench: &Bench) -> [PathBuf; 2] {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/flac");
    let copies = VALID.map(|(clip, ..)| {
        let copy = bench.at(clip).with_extension("flac");
        std::fs::copy(corpus.join(clip).with_extension("flac"), &copy).unwrap();
        copy
    });
    let lines: Vec<_> =
        copies.iter().zip(VALID).map(|(copy, (_, seconds, words))| (text(copy), seconds, words)).collect();
    bench.manifest("own.jsonl", &lines);
    copies
}

#[test]
fn best_stays_while_its_validation_files_are_gone_and_goes_on_when_they_are_back() {
    if !adapter() {
        return;
    }
    let bench = Bench::new();
    bench.manifest("train.jsonl", &TRAIN);
    let [first, _] = own_validation(&bench);
    let names = ["train.jsonl", "own.jsonl", "run"];
    let validations = ["--set", "run.validate_every=1", "--set"];
    let steps = |steps: &'static str| [&validations[..], &[steps, "--resume"]].concat();
    bench.runs("finetune", names, &validations[..2]);
    let best = |bench: &Bench| bench.read("run/best/README.md");
    let before = best(&bench);
    assert!(before.contains("of 2 utterances"), "{before}");
    let away = first.with_extension("away");
    std::fs::rename(&first, &away).unwrap();
    let output = bench.runs("finetune", names, &steps("finetune.steps=3"));
    let said = stderr(&output);
    for part in ["1 of the validation recordings cannot be read", "best stays", "own.jsonl:1"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert_eq!(bench.lines("run").pop().unwrap()["utterances"], 1);
    assert_eq!(best(&bench), before);
    std::fs::rename(&away, &first).unwrap();
    let output = bench.runs("finetune", names, &steps("finetune.steps=4"));
    let said = stderr(&output);
    assert!(!said.contains("compared") && !said.contains("anew"), "{said}");
    assert_eq!(bench.lines("run").pop().unwrap()["utterances"], 2);
    // Other validation data are other scores.
    bench.manifest("other.jsonl", &VALID[..1]);
    let output = bench.runs("finetune", ["train.jsonl", "other.jsonl", "run"], &steps("finetune.steps=5"));
    assert!(stderr(&output).contains("best begins anew"), "{output:?}");
    assert!(best(&bench).contains("of 1 utterance"), "{}", best(&bench));
}

#[test]
fn training_names_clips_that_teach_nothing_and_counts_their_own_length() {
    if !adapter() {
        return;
    }
    let bench = Bench::new();
    bench.manifest("valid.jsonl", &VALID);
    wav(&bench.at("half.wav"), &tone(0.64));
    let half = bench.at("half.wav");
    let mut clips = TRAIN.to_vec();
    clips[3].2 = "mississippi mississippi mississippi mississippi";
    clips.push((text(&half), 1.28, "up"));
    bench.manifest("train.jsonl", &clips);
    let eight = ["--set", "finetune.data.batch_utterances=8"];
    let output = bench.runs("finetune", ["train.jsonl", "valid.jsonl", "run"], &eight);
    let stderr = stderr(&output);
    assert_eq!(stderr.matches("train.jsonl:4").count(), 1, "{stderr}");
    assert!(
        stderr.contains("0.640 s") && stderr.contains("1.280 s") && stderr.contains("train.jsonl:5"),
        "{stderr}"
    );
    let table = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(table.contains("1 with a text too long for the audio"), "{table}");
    let seconds = bench.lines("run")[0]["audio_seconds"].as_f64().unwrap();
    assert!((seconds - (0.6001 + 1.0066 + 1.2501 + 0.6402 + 0.64)).abs() < 1e-3, "{seconds}");
}

#[test]
fn what_a_run_fixes_is_compared_and_what_is_refused_changes_nothing() {
    if !adapter() {
        return;
    }
    let bench = Bench::new();
    bench.manifest("train.jsonl", &TRAIN);
    bench.manifest("valid.jsonl", &VALID);
    bench.manifest("other.jsonl", &TRAIN[..3]);
    let names = ["train.jsonl", "valid.jsonl", "run"];
    bench.runs("finetune", names, &[]);
    let before = bench.files("run");
    let refused = |phase, names, extra: &[&str], parts: &[&str]| {
        let extra = [&["--resume"], extra].concat();
        let code = if parts.contains(&"--other-data") { 1 } else { 2 };
        bench.refused(code, phase, names, &extra, parts);
        assert!(bench.files("run") == before, "{extra:?} changed the run");
    };
    for (setting, parts) in [
        ("features.normalization=sentence", ["features.normalization", "\"sentence\"", "\"global\""]),
        ("features.silence=0.5", ["features.silence", "0.5", "0.2"]),
        ("model.activation=silu", ["model.activation", "\"silu\"", "\"gelu\""]),
        ("model.d_model=24", ["model.d_model", "24", "16"]),
        ("model.causal_chunk=4", ["model.causal_chunk", "4", "none"]),
        ("run.seed=7", ["run.seed", "7", "0"]),
        ("finetune.head=mlp", ["finetune.head", "\"mlp\"", "\"linear\""]),
    ] {
        refused("finetune", names, &["--set", setting, "--set", "finetune.steps=4"], &parts);
    }
    refused("pretrain", names, &[], &["polymix finetune"]);
    let other = ["other.jsonl", "valid.jsonl", "run"];
    let more = ["--set", "finetune.steps=3"];
    refused("finetune", other, &more, &["4 recordings", "3 recordings", "--other-data"]);

    // What is finished says so, and changes nothing.
    let output = bench.runs("finetune", names, &["--resume"]);
    assert!(stderr(&output).contains("finished") && stderr(&output).contains("2 of 2"), "{output:?}");
    assert!(!String::from_utf8_lossy(&output.stdout).contains("unfinished"), "{output:?}");
    assert!(bench.files("run") == before);

    // Another process has it.
    let lock = std::fs::File::create(bench.at("run/lock")).unwrap();
    lock.lock().unwrap();
    std::fs::write(bench.at("run/lock"), "4242 elsewhere\n").unwrap();
    let extra = [&["--resume"], &more[..]].concat();
    bench.refused(1, "finetune", names, &extra, &["process 4242 on elsewhere"]);
    drop(lock);

    // What may change does, and the recipe says what ran.
    let free = ["--set", "finetune.optimizer.lr=2e-3", "--set", "finetune.data.batch_utterances=2"];
    let output = bench.runs("finetune", names, &[&extra[..], &free].concat());
    assert!(stderr(&output).contains("finetune.optimizer.encoder_lr = 0.002 (was 0.001)"), "{output:?}");
    assert!(bench.read("run/recipe.toml").contains("encoder_lr = 0.002"));
    assert_eq!(bench.lines("run").len(), 2 + 1 + 1 + 1);
    bench.runs("finetune", other, &["--resume", "--other-data", "--set", "finetune.steps=4"]);
    assert!(!bench.at("run/lock").exists());
}

#[test]
fn an_alphabet_belongs_to_its_head() {
    if !adapter() {
        return;
    }
    let bench = Bench::new();
    let with = |texts: [&'static str; 4]| -> Vec<(&str, f64, &str)> {
        TRAIN.iter().zip(texts).map(|(&(name, seconds, _), text)| (name, seconds, text)).collect()
    };
    bench.manifest("a.jsonl", &with(["ab", "bb", "cb", "ab"]));
    bench.manifest("d.jsonl", &with(["zb", "bb", "xb", "zb"]));
    let own = ["--set", "finetune.vocabulary=transcripts", "--limit-steps", "1"];
    // Letters that only the validation has are errors of the rates.
    bench.runs("finetune", ["a.jsonl", "d.jsonl", "run"], &own);
    let line = bench.lines("run").pop().unwrap();
    assert_eq!((&line["utterances"], &line["loss_utterances"]), (&4.into(), &1.into()), "{line}");
    assert!(line["cer"].as_f64() >= Some(3.0 / 8.0), "{line}");

    let before = bench.files("run");
    let resume = ["--resume", "--set", "finetune.vocabulary=transcripts"];
    let parts = ["d.jsonl:1", "'z' in 2", "'x' in 1"];
    bench.refused(1, "finetune", ["d.jsonl", "a.jsonl", "run"], &resume, &parts);
    assert!(bench.files("run") == before);

    let init = bench.at("run");
    let init = [&["--init", text(&init)], &own[..]].concat();
    let parts = [&parts[..], &["finetune.new_head = true"]].concat();
    bench.refused(1, "finetune", ["d.jsonl", "a.jsonl", "next"], &init, &parts);
    assert!(!bench.at("next").exists());
    bench.runs(
        "finetune",
        ["d.jsonl", "a.jsonl", "next"],
        &[&init[..], &["--set", "finetune.new_head=true"]].concat(),
    );
    let vocabulary: Value = serde_json::from_str(&bench.read("next/last/vocab.json")).unwrap();
    assert_eq!(vocabulary, serde_json::json!({ "<blank>": 0, "b": 1, "x": 2, "z": 3 }));
}

#[test]
fn an_encoder_starts_what_its_weights_mean_the_same_in() {
    if !adapter() {
        return;
    }
    let bench = Bench::new();
    bench.manifest("train.jsonl", &TRAIN);
    bench.manifest("valid.jsonl", &VALID);
    bench.runs("pretrain", ["train.jsonl", "valid.jsonl", "pre"], &["--limit-steps", "1"]);
    let init = bench.at("pre");
    let with = |settings: &[&'static str]| -> Vec<String> {
        let settings = settings.iter().flat_map(|setting| ["--set", setting]);
        ["--init", text(&init), "--limit-steps", "1"].into_iter().chain(settings).map(str::to_owned).collect()
    };
    let names = ["train.jsonl", "valid.jsonl", "next"];
    for (settings, parts) in [
        (["model.d_model=24"], ["model.d_model = 24 (was 16)"]),
        (["model.activation=silu"], ["model.activation = \"silu\" (was \"gelu\")"]),
        (["model.mixer=summary-mixing"], ["model.mixer = \"summary-mixing\" (was \"pom\")"]),
        (["features.normalization=sentence"], ["features.normalization = sentence (was global)"]),
    ] {
        let extra = with(&settings);
        let extra: Vec<&str> = extra.iter().map(String::as_str).collect();
        bench.refused(2, "finetune", names, &extra, &parts);
    }
    let free =
        with(&["model.causal_chunk=4", "model.compute=f16", "model.saved_activations=f16", "model.heads=4"]);
    let free: Vec<&str> = free.iter().map(String::as_str).collect();
    let output = bench.runs("finetune", names, &free);
    assert!(stderr(&output).contains("model.causal_chunk = 4 (was none)"), "{output:?}");
}

#[test]
fn a_run_that_diverged_goes_on_from_its_last_good_checkpoint() {
    if !adapter() {
        return;
    }
    let bench = Bench::new();
    bench.manifest("valid.jsonl", &VALID);
    bench.manifest("good.jsonl", &TRAIN);
    let mut bad = TRAIN;
    bad[1].2 = "a text that is far too long for the few frames that there are";
    bench.manifest("bad.jsonl", &bad);
    let endless = ["--set", "finetune.zero_infinity=false", "--set", "run.log_every=50"];
    let output = bench.refused(
        1,
        "finetune",
        ["bad.jsonl", "valid.jsonl", "run"],
        &endless,
        &["not finite", "--resume"],
    );
    assert!(stderr(&output).contains("bad.jsonl:2"), "{output:?}");
    // As an earlier version would have left it.
    let good = bench.at("run/checkpoints/0");
    let state = std::fs::read_to_string(good.join("state.json")).unwrap();
    let damaged = bench.at("run/checkpoints/1");
    std::fs::create_dir_all(&damaged).unwrap();
    for name in ["model.safetensors", "optimizer.safetensors"] {
        std::fs::copy(good.join(name), damaged.join(name)).unwrap();
    }
    std::fs::write(damaged.join("state.json"), state.replacen("\"loss\": 0.0", "\"loss\": null", 1)).unwrap();
    let resume = [&["--resume"], &endless[..]].concat();
    let output = bench.runs("finetune", ["good.jsonl", "valid.jsonl", "run"], &resume);
    let stderr = stderr(&output);
    assert!(stderr.contains("checkpoints/1") && stderr.contains("after step 0"), "{stderr}");
    assert_eq!(bench.lines("run").last().unwrap()["step"], 2);
}

#[test]
fn a_run_says_what_it_reads_compiles_and_writes_and_keeps_its_channel() {
    if !adapter() {
        return;
    }
    let bench = Bench::new();
    bench.manifest("train.jsonl", &TRAIN);
    bench.manifest("valid.jsonl", &VALID);
    let names = ["train.jsonl", "valid.jsonl", "run"];
    let arguments = bench.arguments("finetune", names, &["--quiet", "--channel", "1"]);
    let output = command().env("POLYMIX_LOG", "debug").args(arguments).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let said = stderr(&output);
    for part in [
        "train.jsonl as Nemo: 4 recordings",
        "lengths of 4 recordings, 4 by their files, in ",
        "statistics of 4 examples in ",
        "train-en-us-m3-00.flac channel 1: 0.60 s",
        "compiled the training plan of 4 ",
        "compiled the validation plan of ",
        "batch 0 of epoch 1: 4 ",
        "frames, waited for ",
        "validated 1 batches in ",
        "run/best in ",
        "run/checkpoints/2 in ",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let more = ["--resume", "--set", "finetune.steps=3"];
    bench.refused(1, "finetune", names, &more, &["--other-data"]);
    bench.runs("finetune", names, &[&more[..], &["--channel", "1"]].concat());
}
