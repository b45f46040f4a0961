//! The same with real runs, on the adapter that `POLYMIX_DEVICE` names.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use polymix::error::Result;
use polymix::gpu::Gpu;
use polymix::recipe::Recipe;
use polymix::rng::Rng;
use polymix::train::metrics::{TrainLine, ValidLine};
use polymix::train::{Progress, Request, finetune};

use super::adapter::gpu;
use super::outcome::losses;
use super::plan::{self, Plan};
use super::{asked, child, files, kills, leftovers, newest, was_killed};

struct Quiet;

impl Progress for Quiet {
    fn message(&mut self, _: &str) {}
    fn begin(&mut self, _: &str, _: u64) {}
    fn advance(&mut self, _: u64) {}
    fn train(&mut self, _: &TrainLine) {}
    fn valid(&mut self, _: &ValidLine) {}
}

/// Four utterances of the project's speech.
fn data(folder: &Path) -> PathBuf {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let all = std::fs::read_to_string(corpus.join("train.jsonl")).unwrap();
    let flac = corpus.join("flac/");
    let few: Vec<String> =
        all.lines().take(4).map(|line| line.replace("flac/", flac.to_str().unwrap())).collect();
    let path = folder.join("data.jsonl");
    std::fs::write(&path, few.join("\n")).unwrap();
    path
}

/// Trains in `run`, or goes on where that is left.
fn train(gpu: Arc<Gpu>, folder: &Path, run: &Path) -> Result<()> {
    let settings = [
        "model.d_model=8",
        "model.layers=1",
        "model.ffn=16",
        "model.kernel=3",
        "model.channels=[4, 2]",
        "features.silence=0.1",
        "finetune.head='linear'",
        "finetune.steps=4",
        "finetune.data.batch_utterances=4",
        "finetune.data.buckets=1",
        "finetune.optimizer.lr=0.001",
        "finetune.optimizer.schedule={name='constant'}",
        "finetune.augmentation.enabled=false",
        "run.log_every=1",
        "run.checkpoint_every=2",
        "run.validate_every=2",
    ];
    let data = data(folder);
    let request = Request {
        recipe: Recipe::parse("test", "", &settings.map(str::to_owned))?,
        command: "test".into(),
        data: vec![data.clone()],
        valid: vec![data],
        out: run.to_path_buf(),
        init: None,
        resume: run.join("checkpoints").is_dir(),
        other_data: false,
        channel: None,
        limit_steps: None,
        strict: true,
        memory_limit: None,
    };
    finetune(gpu, &request, &mut Quiet).map(drop)
}

#[test]
#[ignore = "the process that is killed"]
fn killed_training() {
    let (Some((run, plan)), Some(gpu)) = (asked(), gpu()) else { return };
    plan::set(&run, plan);
    train(gpu, run.parent().unwrap(), &run).unwrap();
}

type Files = BTreeMap<String, Vec<u8>>;

/// The files of a run but what tells its times, and the bits of the losses.
fn result(run: &Path) -> (Files, Vec<(u64, u64)>) {
    let mut files = files(run);
    files.remove("metrics.jsonl").unwrap();
    (files, losses(run))
}

#[test]
fn training_that_is_cut_off_goes_on_bit_for_bit() {
    let Some(gpu) = gpu() else { return };
    let folder = super::scratch();
    let at = |name: &str| folder.path().join(name);
    plan::set(&at("whole"), Plan::default());
    train(gpu.clone(), folder.path(), &at("whole")).unwrap();
    let operations = plan::count(&at("whole"));
    let whole = result(&at("whole"));
    assert_eq!(leftovers(&at("whole")), [""; 0]);
    let same = |run: &Path, what: &str| {
        let (files, losses) = result(run);
        assert_eq!(losses, whole.1, "{what}");
        assert!(files.keys().eq(whole.0.keys()), "{what}: {:?}", files.keys());
        for (name, bytes) in files {
            assert!(bytes == whole.0[&name], "{what}: {name} differs");
        }
    };

    // A full disk in the middle; then there is room again.
    let full = Plan {
        at: operations / 2,
        error: Some(ErrorKind::StorageFull),
        from_then_on: true,
        cut: true,
        ..Plan::default()
    };
    plan::set(&at("full"), full);
    let message = train(gpu.clone(), folder.path(), &at("full")).unwrap_err().to_string();
    assert!(message.contains("free space"), "{message}");
    plan::set(&at("full"), Plan::default());
    train(gpu, folder.path(), &at("full")).unwrap();
    same(&at("full"), "a full disk");

    let (wanted, told) = kills(10);
    let mut rng = Rng::new(&[2]);
    let (mut killed, mut finished) = (0, 0);
    while killed < wanted / 10 {
        let run = at(&format!("killed{finished}"));
        let mut floor = None;
        loop {
            // Those of a default run are in its second half, so that there is something to go on from.
            let at = 1 + rng.below(operations as usize) as u64;
            let at = if told { at } else { at.max(operations / 2) };
            let plan = Plan { at, kill: true, cut: rng.below(2) == 0, ..Plan::default() };
            let output = child("training::killed_training", &run, &plan);
            let found = newest(&run);
            assert!(found >= floor, "{plan}: {found:?} is older than {floor:?}");
            floor = found;
            if !was_killed(&output) {
                break;
            }
            killed += 1;
        }
        same(&run, "killed training");
        finished += 1;
    }
    if told {
        println!(
            "{killed} kills in {finished} trainings of {operations} operations; all went on bit for bit"
        );
    }
}
