//! `polymix evaluate`

use std::fmt::Write as _;
use std::path::Path;

use pollster::block_on;
use serde::Serialize;
use web_time::Instant;

use super::adapter::Device;
use super::arguments::{Decoder, Evaluate, Global};
use super::output::{percent, print, print_json};
use super::progress::Reporter;
use crate::data::{Corpus, LeftOut};
use crate::error::{Error, Result};
use crate::models::{Recognizer, SavedModel};
use crate::text::{Evaluation, Score, evaluate, score};
use crate::train::Progress;

/// Files that are read and recognized together.
const GROUP: usize = 16;
/// Utterances that are shown as the worst.
const WORST: usize = 5;

/// What `--json` prints.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    #[serde(flatten)]
    pub rates: Evaluation,
    pub audio_seconds: f64,
    pub seconds: f64,
    pub rtf: f64,
    pub results: Vec<Transcript>,
    /// What could not be read.
    pub left_out: Vec<LeftOut>,
}

/// What was said and what was heard.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Transcript {
    pub audio_filepath: String,
    pub text: String,
    pub hypothesis: String,
    #[serde(skip)]
    score: Score,
}

/// Scores a model on data.
pub(super) fn run(command: &Evaluate, global: &Global) -> Result<()> {
    if command.decoder == Decoder::Beam || command.lm.is_some() {
        let message =
            "beam search and language models are not available yet; use --decoder greedy without --lm";
        return Err(Error::usage(message));
    }
    global.note_without_recipe("evaluate");
    let model = SavedModel::load(&command.model)?;
    let corpus = Corpus::load(&command.data)?;
    corpus.texts()?;
    let device = Device::open(global)?;
    let mut recognizer = recognizer(&device, model, &command.model)?;
    let report = score_corpus(&mut recognizer, &corpus, command.strict, &mut Reporter::new(global.quiet))?;
    if command.json { print_json(&report) } else { print(summary(&report)) }
}

/// The model of `path` on the device.
pub(super) fn recognizer(device: &Device, model: SavedModel, path: &Path) -> Result<Recognizer> {
    Recognizer::new(device.gpu.clone(), model).map_err(|error| match error {
        Error::Invalid(message) => Error::file(path, message),
        other => other,
    })
}

/// Recognizes every recording of the corpus and compares with its text.
///
/// # Errors
/// When a text is missing, a file is bad and `strict`, no file is good, or the device fails.
pub(super) fn score_corpus(
    recognizer: &mut Recognizer,
    corpus: &Corpus,
    strict: bool,
    progress: &mut dyn Progress,
) -> Result<Report> {
    let texts = corpus.texts()?;
    let seconds: Vec<f64> = corpus
        .utterances
        .iter()
        // A file that cannot be read is named below.
        .map(|u| u.duration.unwrap_or_else(|| u.audio.duration().unwrap_or(0.0)))
        .collect();
    let mut order: Vec<usize> = (0..texts.len()).collect();
    order.sort_by(|&a, &b| seconds[b].total_cmp(&seconds[a]));

    let begun = Instant::now();
    let mut results: Vec<Option<Transcript>> = vec![None; texts.len()];
    let (mut audio_seconds, mut left_out) = (0.0, Vec::new());
    progress.begin("evaluating", texts.len() as u64);
    for (done, group) in order.chunks(GROUP).enumerate() {
        let mut waves = Vec::with_capacity(group.len());
        for &at in group {
            match corpus.utterances[at].audio.read() {
                Ok(audio) => {
                    audio_seconds += audio.seconds();
                    waves.push((at, audio.samples));
                }
                Err(error) if strict => return Err(error),
                Err(error) => {
                    tracing::warn!("left out: {error}");
                    left_out.push(LeftOut::new(&corpus.utterances[at], error));
                }
            }
        }
        let slices: Vec<&[f32]> = waves.iter().map(|(_, wave)| wave.as_slice()).collect();
        for (&(at, _), heard) in waves.iter().zip(block_on(recognizer.recognize(&slices))?) {
            results[at] = Some(Transcript {
                audio_filepath: corpus.utterances[at].audio.to_string(),
                text: texts[at].to_owned(),
                score: score(texts[at], &heard.text),
                hypothesis: heard.text,
            });
        }
        progress.advance(((done + 1) * GROUP).min(texts.len()) as u64);
    }
    let results: Vec<Transcript> = results.into_iter().flatten().collect();
    if results.is_empty() {
        return Err(Error::invalid("no audio file can be read; check the paths in the manifest"));
    }
    let scores: Vec<Score> = results.iter().map(|result| result.score).collect();
    let seconds = begun.elapsed().as_secs_f64();
    let rtf = seconds / audio_seconds;
    Ok(Report { rates: evaluate(&scores), audio_seconds, seconds, rtf, results, left_out })
}

fn summary(report: &Report) -> String {
    let rates = &report.rates;
    let interval = |[low, high]: [f64; 2]| format!("(95 %: {} to {})", percent(low), percent(high));
    let mut text = format!(
        "WER  {:>9}  {}\nCER  {:>9}  {}\n{} utterances, {} words, {:.1} s of audio in {:.1} s (real-time factor {:.4})\n",
        percent(rates.wer),
        interval(rates.wer_ci),
        percent(rates.cer),
        interval(rates.cer_ci),
        rates.utterances,
        rates.words,
        report.audio_seconds,
        report.seconds,
        report.rtf
    );
    if !report.left_out.is_empty() {
        let _ = writeln!(text, "{} files could not be read and are not counted", report.left_out.len());
    }
    let mut worst: Vec<&Transcript> = report.results.iter().filter(|r| r.score.words.errors > 0).collect();
    worst
        .sort_by_key(|result| std::cmp::Reverse((result.score.words.errors, result.score.characters.errors)));
    for result in worst.iter().take(WORST) {
        let _ = write!(
            text,
            "\n{}: {} of {} words wrong\n  said   {}\n  heard  {}\n",
            result.audio_filepath,
            result.score.words.errors,
            result.score.words.total,
            result.text,
            result.hypothesis
        );
    }
    text
}
