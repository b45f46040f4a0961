//! `polymix demo`: the whole workflow on the corpus that comes with the project.

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
use crate::train::metrics::chart::{self, COLORS, Curve, Panel};
use crate::train::metrics::{self, Line};
use crate::train::{self, Progress, Request};

const RECIPE: &str = include_str!("../../recipes/demo.toml");
/// Says that a folder is the demo's own.
const MARKER: &str = ".polymix-demo";
/// The speech of the demo, in the project's folder.
const SPEECH: &str = "corpus/digits";
/// The demo's runs.
const RUNS: [&str; 3] = ["pretrain", "scratch", "pretrained"];
/// The picture of their losses and error rates.
const CURVES: &str = "curves.svg";

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
    /// The picture of the losses and error rates.
    curves: PathBuf,
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
        memory_limit: None,
    };

    let [labeled, all] = [&["train"][..], &["train", "unlabelled"]].map(|names| clips(names, &source));
    let (labeled, all, clips_of_test) = (labeled?, all?, test.utterances.len());
    let steps = recipe.finetune.steps.unwrap_or_default();
    reporter.message(&format!(
        "A small model learns to write spoken digits on {}: some minutes on a CPU, seconds on a GPU. It ends with the \
         picture {}.",
        device.name(),
        command.out.join(CURVES).display()
    ));
    reporter.message(&format!(
        "1/4 pre-training on {all} clips of people who say digits, without texts: parts of the sound are hidden, and the \
         model guesses what was there. Watch the loss fall: nobody tells the model what a word is."
    ));
    let request_pretrain = request(&pretrain, &["train", "unlabelled"], None);
    let learned = train::pretrain(device.gpu.clone(), &request_pretrain, &mut reporter)?;
    reporter.message(&format!(
        "2/4 a model from scratch learns to write the words of {labeled} clips, in {steps} steps. Watch the WER, the \
         share of wrong words: it stays near 1 as long as the model writes nothing."
    ));
    let from_scratch =
        train::finetune(device.gpu.clone(), &request(&scratch, &["train"], None), &mut reporter)?;
    reporter.message(&format!(
        "3/4 the pre-trained model learns the same, from the same {labeled} clips in {steps} steps. Watch the WER fall \
         sooner: this is what speech without text is good for."
    ));
    let request_pretrained = request(&pretrained, &["train"], Some(&learned.best));
    let from_pretrained = train::finetune(device.gpu.clone(), &request_pretrained, &mut reporter)?;
    reporter.message(&format!("4/4 both write down {clips_of_test} clips that neither was trained on"));

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
        curves: draw(&command.out)?,
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
            format!("said: {}  written: {}", transcript.text, transcript.hypothesis),
        ]);
    }
    rows.push(["adapter".to_owned(), story.adapter.clone()]);
    rows.push(["seconds".to_owned(), format!("{:.0}", story.seconds)]);
    rows.push(["picture of losses and WER".to_owned(), story.curves.display().to_string()]);
    rows.push(["runs, models, demo.json".to_owned(), out.display().to_string()]);
    let program = std::env::args_os().next().unwrap_or_else(|| "polymix".into());
    let model = out.join(RUNS[2]);
    let next = format!("{} transcribe {} my.wav", program.to_string_lossy(), model.display());
    rows.push(["next: record a digit, and type".to_owned(), next]);
    table(&rows)
}

/// Clips in the manifests.
fn clips(names: &[&str], source: &dyn Fn(&str) -> PathBuf) -> Result<usize> {
    let manifests: Vec<PathBuf> = names.iter().map(|name| source(name)).collect();
    Ok(Corpus::load(&manifests)?.utterances.len())
}

/// Draws the losses of the runs and the WER on the way into one picture.
fn draw(out: &Path) -> Result<PathBuf> {
    let path = out.join(CURVES);
    let mut lines = Vec::new();
    for run in RUNS {
        lines.push(metrics::read(out.join(run).join("metrics.jsonl"))?);
    }
    let curve = |run: usize, label: &str, dots: bool, value: &dyn Fn(&Line) -> Option<f64>| Curve {
        label: label.to_owned(),
        points: lines[run].iter().filter_map(|line| Some((line.step() as f64, value(line)?))).collect(),
        color: COLORS[run],
        width: 2,
        dots,
    };
    let loss = |line: &Line| match line {
        Line::Train(line) => Some(line.loss),
        Line::Valid(_) => None,
    };
    let wer = |line: &Line| match line {
        Line::Train(_) => None,
        Line::Valid(line) => line.wer.map(|wer| 100.0 * wer),
    };
    let panel = |title: &str, y: &str, from_zero: bool, curves: Vec<Curve>| Panel {
        title: title.to_owned(),
        x: "step".to_owned(),
        y: y.to_owned(),
        curves,
        from_zero,
        legend_left: false,
    };
    let both = |dots: bool, value: &dyn Fn(&Line) -> Option<f64>| {
        vec![curve(1, "from scratch", dots, value), curve(2, "after pre-training", dots, value)]
    };
    let panels = [
        panel("1  Pre-training without text", "loss", false, vec![curve(0, "hidden speech", false, &loss)]),
        panel("2, 3  Learning to write", "loss", true, both(false, &loss)),
        panel("Words that are wrong, validation", "WER, %", true, both(true, &wer)),
    ];
    let svg = chart::svg(&panels, (520, 440))
        .map_err(|error| Error::file(&path, format!("cannot draw the curves: {error}")))?;
    write_whole(&path, svg.as_bytes())?;
    Ok(path)
}

/// The speech of the repository that this is started in, or was built from.
fn corpus_folder() -> Result<PathBuf> {
    let built_from = Path::new(env!("CARGO_MANIFEST_DIR")).join(SPEECH);
    [PathBuf::from(SPEECH), built_from].into_iter().find(|folder| folder.join("train.jsonl").is_file()).ok_or_else(
        || {
            let message = "is not here, since an installed polymix comes without speech; start the demo in a copy of \
                           polymix's repository, which holds it";
            Error::file(SPEECH, message)
        },
    )
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
    remove_file(&out.join(CURVES))?;
    remove_file(&out.join("demo.json"))
}
