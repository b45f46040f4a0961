//! Several ranks train the same model as one. They are threads here, which share a device, so that kernels are compiled once.

mod adapter;
mod outcome;

use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use outcome::weights;
use polymix::error::{Error, Result};
use polymix::gpu::Gpu;
use polymix::recipe::Recipe;
use polymix::train::metrics::{self, Line, TrainLine, ValidLine};
use polymix::train::{
    Outcome, Progress, Ranks, Request, Terms, Wire, finetune_among, in_threads, pretrain_among,
};

/// The adapter under test, opened once.
fn gpu() -> Option<Arc<Gpu>> {
    static GPU: LazyLock<Option<Arc<Gpu>>> = LazyLock::new(adapter::gpu);
    GPU.clone()
}

fn corpus(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name)
}

fn request(overrides: &[&str], out: PathBuf) -> Request {
    let mut settings = vec![
        "model.d_model=16",
        "model.layers=1",
        "model.ffn=32",
        "model.kernel=7",
        "model.channels=[4, 4]",
        "model.layer_drop=0.2",
        "features.silence=0.1",
        "finetune.head='linear'",
        "finetune.steps=6",
        "finetune.data.batch_utterances=3",
        "finetune.data.buckets=2",
        "finetune.optimizer.lr=0.003",
        "finetune.augmentation.enabled=false",
        "pretrain.steps=4",
        "pretrain.codes=32",
        "pretrain.data.string_seconds=3",
        "pretrain.data.window_seconds=3",
        "pretrain.data.batch_utterances=4",
        "run.log_every=3",
        "run.checkpoint_every=3",
        "run.validate_every=6",
    ];
    settings.extend(overrides);
    Request {
        recipe: Recipe::parse("test", "", &settings).unwrap(),
        command: "test".into(),
        data: vec![corpus("train.jsonl")],
        valid: vec![corpus("valid.jsonl")],
        out,
        init: None,
        resume: false,
        other_data: false,
        limit_steps: None,
        strict: true,
        memory_limit: None,
        channel: None,
    }
}

struct Quiet;

impl Progress for Quiet {
    fn message(&mut self, _: &str) {}
    fn begin(&mut self, _: &str, _: u64) {}
    fn advance(&mut self, _: u64) {}
    fn train(&mut self, _: &TrainLine) {}
    fn valid(&mut self, _: &ValidLine) {}
}

type Phase = fn(&Ranks, Arc<Gpu>, &Request, &mut dyn Progress) -> Result<Outcome>;

fn train(size: usize, terms: Terms, phase: Phase, request: &Request) -> Result<Outcome> {
    let request = request.clone();
    let gpu = gpu().expect("an adapter, for which each test asks first");
    in_threads(size, terms, move |ranks| phase(&ranks, gpu.clone(), &request, &mut Quiet))
}

fn tune(size: usize, request: &Request) -> Outcome {
    train(size, Terms::default(), finetune_among, request).unwrap()
}

/// Every number that a run tells, as bits, but times and bytes.
fn told(run: &Path) -> Vec<(u64, [u64; 5])> {
    let bits = |line: &Line| match line {
        Line::Train(line) => {
            let rest = [line.grad_norm, line.lr, line.audio_seconds, line.accuracy.unwrap_or(0.0)];
            (line.step, [line.loss, rest[0], rest[1], rest[2], rest[3]].map(f64::to_bits))
        }
        Line::Valid(line) => {
            let rest = [line.wer, line.cer, line.accuracy].map(|rate| rate.unwrap_or(0.0));
            (
                line.step,
                [line.valid_loss, rest[0], rest[1], rest[2], line.utterances as f64].map(f64::to_bits),
            )
        }
    };
    metrics::read(run.join("metrics.jsonl")).unwrap().iter().map(bits).collect()
}

/// The largest difference of two models' parameters, relative to the norm of all.
fn apart(a: &Path, b: &Path) -> f64 {
    let (a, b) = (weights(a), weights(b));
    let (mut square, mut norm) = (0.0, 0.0);
    for ((_, _, a), (_, _, b)) in a.iter().zip(b.iter()) {
        for (a, b) in a.iter().zip(b) {
            square += f64::from(a - b).powi(2);
            norm += f64::from(*a).powi(2);
        }
    }
    (square / norm).sqrt()
}

#[test]
fn with_one_micro_batch_a_rank_all_bits_are_those_of_one_process() {
    if gpu().is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for (size, compute, steps) in [(2, "f32", 12), (3, "f16", 6)] {
        let settings = [
            format!("finetune.optimizer.accumulation={size}"),
            format!("model.compute={compute}"),
            format!("finetune.steps={steps}"),
            "finetune.data.string_seconds=4".to_owned(),
            "finetune.data.string_gap_seconds=[0.1, 1.0]".to_owned(),
        ];
        let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
        let run = |name: &str| request(&settings, folder.path().join(format!("{name} {size}")));
        let (one, several) = (run("one"), run("several"));
        let alone = tune(1, &one);
        let together = tune(size, &several);
        assert_eq!(told(&one.out), told(&several.out), "{size} ranks, {compute}");
        assert_eq!(weights(&one.out), weights(&several.out), "{size} ranks, {compute}");
        assert_eq!((alone.loss_last, alone.score), (together.loss_last, together.score));
        for line in metrics::read(several.out.join("metrics.jsonl")).unwrap() {
            let Line::Train(line) = line else { continue };
            let parts = [line.compute_ms, line.exchange_ms, line.data_ms].map(Option::unwrap);
            assert!(parts[1] > 0.0 && (parts.iter().sum::<f64>() - line.step_ms).abs() < 1e-6, "{line:?}");
        }
    }
}

#[test]
fn pre_training_is_the_same_too() {
    if gpu().is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let run = |name: &str| {
        let settings = ["pretrain.optimizer.accumulation=2", "run.log_every=1", "run.validate_every=2"];
        let run = request(&settings, folder.path().join(name));
        Request { data: vec![corpus("unlabelled.jsonl")], valid: vec![corpus("unlabelled.jsonl")], ..run }
    };
    let (one, two) = (run("one"), run("two"));
    train(1, Terms::default(), pretrain_among, &one).unwrap();
    train(2, Terms::default(), pretrain_among, &two).unwrap();
    assert_eq!(told(&one.out), told(&two.out));
    assert_eq!(weights(&one.out), weights(&two.out));
}

#[test]
fn a_run_goes_on_with_any_number_of_ranks() {
    if gpu().is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let settings = ["finetune.optimizer.accumulation=6", "run.log_every=1"];
    let whole = request(&settings, folder.path().join("whole"));
    tune(1, &whole);
    let mut broken = request(&settings, folder.path().join("broken"));
    for (size, limit) in [(2, Some(2)), (1, Some(3)), (3, None)] {
        (broken.limit_steps, broken.resume) = (limit, size != 2);
        tune(size, &broken);
    }
    // Sums are associated otherwise, so that it is the same within rounding.
    let apart = apart(&whole.out, &broken.out);
    assert!(apart < 1e-4, "{apart}");
    let next = |run: &Path| {
        let state = std::fs::read_to_string(run.join("checkpoints/6/state.json")).unwrap();
        serde_json::from_str::<serde_json::Value>(&state).unwrap()["next"].clone()
    };
    assert_eq!(next(&whole.out), next(&broken.out));
    let seconds = |run: &Path| -> Vec<(u64, u64)> {
        let lines = metrics::read(run.join("metrics.jsonl")).unwrap();
        let of = |line: &Line| match line {
            Line::Train(line) => Some((line.step, line.audio_seconds.to_bits())),
            // There are more validations where a run was to stop.
            Line::Valid(_) => None,
        };
        lines.iter().filter_map(of).collect()
    };
    assert_eq!(seconds(&whole.out), seconds(&broken.out), "the same audio in every step");

    // f16 on the way is farther off, and still the same on all ranks, which every checkpoint checks.
    let in_f16 = request(&settings, folder.path().join("f16"));
    train(2, Terms { wire: Wire::F16, ..Terms::default() }, finetune_among, &in_f16).unwrap();
    let apart = self::apart(&whole.out, &in_f16.out);
    assert!(apart > 0.0 && apart < 0.02, "{apart}");

    let error = train(4, Terms::default(), finetune_among, &whole).unwrap_err();
    assert!(
        matches!(error, Error::Usage(_))
            && error.to_string().contains("set finetune.optimizer.accumulation to 4 or 8"),
        "{error}"
    );
}

/// The project's speech with recordings that cannot be read, so many that whole batches give nothing.
fn damaged(folder: &Path) -> PathBuf {
    let flac = corpus("flac/");
    let all = std::fs::read_to_string(corpus("train.jsonl")).unwrap();
    let lines = all.lines().take(13).enumerate().map(|(index, line)| match index % 3 {
        1 => line.replace("flac/", "absent/"),
        _ => line.replace("flac/", flac.to_str().unwrap()),
    });
    let path = folder.join("damaged.jsonl");
    // A recording whose header is whole, so that it is planned, and whose rest is not.
    let cut = folder.join("cut.flac");
    let first = std::fs::read_dir(&flac).unwrap().next().unwrap().unwrap().path();
    let mut bytes = std::fs::read(first).unwrap();
    bytes.truncate(bytes.len() / 8);
    std::fs::write(&cut, bytes).unwrap();
    let lines: Vec<String> = lines
        .enumerate()
        .map(|(index, line)| match index % 4 {
            2 => {
                let mut value: serde_json::Value = serde_json::from_str(&line).unwrap();
                value["audio_filepath"] = cut.to_str().unwrap().into();
                value.to_string()
            }
            _ => line,
        })
        .collect();
    std::fs::write(&path, lines.join("\n")).unwrap();
    path
}

#[test]
fn batches_that_give_nothing_leave_the_sequence_the_same() {
    if gpu().is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let data = damaged(folder.path());
    let run = |name: &str| {
        let settings =
            ["finetune.optimizer.accumulation=2", "finetune.data.batch_utterances=1", "run.log_every=1"];
        let run = request(&settings, folder.path().join(name));
        Request { data: vec![data.clone()], valid: vec![data.clone()], strict: false, ..run }
    };
    let (one, two) = (run("one"), run("two"));
    let alone = tune(1, &one);
    let together = tune(2, &two);
    // One that is planned and then cannot be read makes a batch of nothing.
    assert!(
        alone.left_out.iter().any(|(_, one)| one.audio_filepath.ends_with("cut.flac")),
        "{}",
        alone.left_out
    );
    assert_eq!(alone.left_out.counts(), together.left_out.counts());
    assert_eq!(told(&one.out), told(&two.out));
    assert_eq!(weights(&one.out), weights(&two.out));
    let left_out = |run: &Path| -> Vec<String> {
        let lines = metrics::read(run.join("metrics.jsonl")).unwrap();
        let of = |line: &Line| match line {
            Line::Valid(line) => line.left_out.iter().map(ToString::to_string).collect(),
            Line::Train(_) => Vec::new(),
        };
        lines.iter().flat_map(of).collect()
    };
    assert_eq!(left_out(&one.out), left_out(&two.out));
    // Under --strict a bad file ends the run, and nothing is made.
    let strict = Request { strict: true, ..run("strict") };
    let error = train(2, Terms::default(), finetune_among, &strict).unwrap_err().to_string();
    assert!(error.starts_with("rank ") && error.contains("absent/"), "{error}");
}

#[test]
fn what_one_rank_lacks_ends_all() {
    let Some(gpu) = gpu() else { return };
    let folder = tempfile::tempdir().unwrap();
    let request = request(&["finetune.optimizer.accumulation=2"], folder.path().join("run"));
    // Ranks of two machines whose data are not the same.
    let other = Request { data: vec![corpus("valid.jsonl")], ..request.clone() };
    let differing = in_threads(2, Terms::default(), move |ranks| {
        let request = if ranks.leads() { &request } else { &other };
        finetune_among(&ranks, gpu.clone(), request, &mut Quiet)
    });
    let error = differing.unwrap_err().to_string();
    assert!(error.contains("rank 1: has another recipe or other data"), "{error}");
    assert!(!folder.path().join("run").exists());
}
