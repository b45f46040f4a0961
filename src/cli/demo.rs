//! `polymix demo`: the whole story on the corpus that comes with the project.

use std::path::{Path, PathBuf};

use serde::Serialize;
use web_time::Instant;

use super::adapter::Device;
use super::arguments::{Demo, Global};
use super::evaluate::{Report, Scoring, recognizer, score_corpus};
use super::output::{percent, print, table};
use super::progress::Reporter;
use super::train::{command_line, stop_on_interrupt};
use crate::data::{Corpus, LeftOut};
use crate::error::{Error, Result};
use crate::files::{entries, make_folder, remove_file, remove_folder, write_whole};
use crate::models::SavedModel;
use crate::recipe::Recipe;
use crate::train::{self, Progress, Request};

const RECIPE: &str = include_str!("../../recipes/demo.toml");
/// Says that a folder is the demo's own.
const MARKER: &str = ".polymix-demo";
/// The demo's runs.
const RUNS: [&str; 3] = ["pretrain", "scratch", "pretrained"];

/// `demo.json`.
#[derive(Debug, Serialize)]
struct Story {
    pretrain: Loss,
    wer_scratch: Option<f64>,
    wer_pretrained: Option<f64>,
    /// Of the two rates, and what they do not include.
    utterances: usize,
    left_out: Vec<LeftOut>,
    transcripts: Vec<Transcript>,
    adapter: String,
    seconds: f64,
}

#[derive(Debug, Serialize)]
struct Loss {
    steps: u64,
    loss_first: f64,
    loss_last: f64,
}

#[derive(Debug, Serialize)]
struct Transcript {
    audio: String,
    text: String,
    hypothesis: String,
}

/// Pre-trains, fine-tunes with and without what was learned, scores both, transcribes.
pub(super) fn run(command: &Demo, global: &Global) -> Result<()> {
    let begun = Instant::now();
    let recipe = Recipe::parse("recipes/demo.toml", RECIPE, &global.overrides())?;
    let corpus = corpus_folder()?;
    let source = |name: &str| corpus.join(name).with_extension("jsonl");
    let test = Corpus::load(&[source("test")])?;
    let device = Device::open(global)?;
    clear(&command.out)?;
    stop_on_interrupt();
    let mut reporter = Reporter::new(global.quiet);
    let [pretrain, scratch, pretrained] = RUNS.map(|name| command.out.join(name));
    let request = |out: &Path, data: &[&str], init: Option<&Path>| Request {
        recipe: recipe.clone(),
        command: command_line(),
        data: data.iter().map(|name| source(name)).collect(),
        valid: vec![source("valid")],
        out: out.to_path_buf(),
        init: init.map(Path::to_path_buf),
        resume: false,
        other_data: false,
        channel: None,
        limit_steps: global.limit_steps,
        strict: true,
    };

    reporter.message("1/3 pre-training on speech without text");
    let request_pretrain = request(&pretrain, &["unlabelled", "train"], None);
    let learned = train::pretrain(device.gpu.clone(), &request_pretrain, &mut reporter)?;
    reporter.message("2/3 training on a little speech with text, from scratch");
    let from_scratch =
        train::finetune(device.gpu.clone(), &request(&scratch, &["train"], None), &mut reporter)?;
    reporter.message("3/3 the same, from the pre-trained encoder");
    let request_pretrained = request(&pretrained, &["train"], Some(&learned.best));
    let from_pretrained = train::finetune(device.gpu.clone(), &request_pretrained, &mut reporter)?;

    let mut evaluate = |model: &Path| -> Result<Report> {
        let mut recognizer = recognizer(&device, SavedModel::load(model)?, model)?;
        let scoring = Scoring { strict: true, ..Scoring::default() };
        score_corpus(&mut recognizer, &test, scoring, &mut reporter)
    };
    let wer_scratch = evaluate(&from_scratch.best)?.rates.wer;
    let best = evaluate(&from_pretrained.best)?;
    reporter.end();
    let results = &best.results;
    let shown = [1, 2, 3].map(|quarter| &results[(quarter * results.len() / 4).min(results.len() - 1)]);
    let story = Story {
        pretrain: Loss { steps: learned.steps, loss_first: learned.loss_first, loss_last: learned.loss_last },
        wer_scratch,
        wer_pretrained: best.rates.wer,
        utterances: best.rates.utterances,
        left_out: best.left_out.clone(),
        transcripts: shown
            .iter()
            .map(|one| Transcript {
                audio: one.audio_filepath.clone(),
                text: one.text.clone(),
                hypothesis: one.hypothesis.clone(),
            })
            .collect(),
        adapter: device.name(),
        seconds: begun.elapsed().as_secs_f64(),
    };
    let json = serde_json::to_vec_pretty(&story).map_err(|error| Error::invalid(error.to_string()))?;
    write_whole(&command.out.join("demo.json"), &json)?;
    print(summary(&story, &command.out))
}

fn summary(story: &Story, out: &Path) -> String {
    let Loss { steps, loss_first, loss_last } = story.pretrain;
    let rate = |rate: Option<f64>| {
        format!("{} of {} utterances", rate.map_or("none".to_owned(), percent), story.utterances)
    };
    let mut rows = vec![
        ["pre-training loss".to_owned(), format!("{loss_first:.3} → {loss_last:.3} in {steps} steps")],
        ["WER from scratch".to_owned(), rate(story.wer_scratch)],
        ["WER after pre-training".to_owned(), rate(story.wer_pretrained)],
    ];
    for transcript in &story.transcripts {
        rows.push([
            Path::new(&transcript.audio).file_name().unwrap_or_default().to_string_lossy().into_owned(),
            format!("said: {}  heard: {}", transcript.text, transcript.hypothesis),
        ]);
    }
    rows.push(["adapter".to_owned(), story.adapter.clone()]);
    rows.push(["seconds".to_owned(), format!("{:.0}", story.seconds)]);
    rows.push(["runs, models, demo.json".to_owned(), out.display().to_string()]);
    table(&rows)
}

/// The corpus of the repository that this is started in, or was built from.
fn corpus_folder() -> Result<PathBuf> {
    let built_from = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    [PathBuf::from("corpus"), built_from]
        .into_iter()
        .find(|folder| folder.join("train.jsonl").is_file())
        .ok_or_else(|| {
            Error::file(
                "corpus",
                "is not here; start the demo in the project's folder, which holds its speech",
            )
        })
}

/// Makes room for new runs; only what the demo itself has made goes.
fn clear(out: &Path) -> Result<()> {
    make_folder(out)?;
    let empty = entries(out)?.is_empty();
    if !empty && !out.join(MARKER).is_file() {
        return Err(Error::file(out, "holds something else than a former demo; give another --out"));
    }
    write_whole(&out.join(MARKER), b"This folder is made by `polymix demo`, which empties it.\n")?;
    RUNS.iter().try_for_each(|run| remove_folder(&out.join(run)))?;
    remove_file(&out.join("demo.json"))
}
