//! `polymix evaluate` of classifiers and speaker models.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use pollster::block_on;
use serde::Serialize;
use web_time::Instant;

use super::adapter::Device;
use super::arguments::{Evaluate, Global};
use super::drawing::{Grid, detection};
use super::evaluate::{left_out, nothing_scored, rate};
use super::inference::{Forward, Processed, process_corpus};
use super::output::{note, percent, print, print_json, table, thousands};
use super::progress::Reporter;
use crate::data::{Corpus, Exclusions, LeftOut, Utterance, Why};
use crate::error::{Error, Result};
use crate::files::{read_text, write_whole};
use crate::models::{Classified, Classifier, DeviceModel, Embedder, SavedModel, UtteranceHead};
use crate::recipe::TaskKind;
use crate::tasks::{self, Classification, Names, Trial, Verification};
use crate::train::Progress;

/// Confused pairs that the table shows.
const CONFUSED: usize = 10;
/// Classes up to which the table shows the whole matrix.
const SHOWN: usize = 12;

/// How long it took.
#[derive(Debug, Clone, Copy, Serialize)]
struct Time {
    audio_seconds: f64,
    seconds: f64,
    rtf: f64,
}

/// The output of `--json` for a classifier.
#[derive(Debug, Serialize)]
struct Classes {
    task: TaskKind,
    #[serde(flatten)]
    scores: Classification,
    #[serde(flatten)]
    time: Time,
    results: Vec<Judged>,
    /// Utterances left out of the rates.
    left_out: Vec<LeftOut>,
    left_out_reasons: BTreeMap<Why, usize>,
}

/// The class of a recording, and its prediction.
#[derive(Debug, Serialize)]
struct Judged {
    audio_filepath: String,
    label: String,
    hypothesis: String,
    probability: f32,
}

/// The output of `--json` for a verifier.
#[derive(Debug, Serialize)]
struct Speakers {
    task: TaskKind,
    #[serde(flatten)]
    scores: Verification,
    utterances: usize,
    #[serde(flatten)]
    time: Time,
    /// Of a list of trials, each one.
    #[serde(skip_serializing_if = "Option::is_none")]
    results: Option<Vec<Compared>>,
    /// Trials of recordings that are left out.
    left_out_trials: usize,
    /// Utterances left out of the rates.
    left_out: Vec<LeftOut>,
    left_out_reasons: BTreeMap<Why, usize>,
}

/// Two recordings that were compared.
#[derive(Debug, Serialize)]
struct Compared {
    audio_filepaths: [String; 2],
    target: bool,
    score: f64,
}

/// Scores a model that judges whole utterances.
pub(super) fn run(command: &Evaluate, model: &SavedModel, global: &Global) -> Result<()> {
    let head =
        model.config.kind.utterance().ok_or_else(|| Error::invalid("the model judges no utterances"))?;
    let verifies = head.task() == TaskKind::Verify;
    if !verifies && command.trials.is_some() {
        return Err(Error::usage(
            "--trials are of a verifier, and the model is a classifier; leave them out",
        ));
    }
    if !global.quiet && (command.decoding.is_given() || command.ignore_outside_vocabulary) {
        note("options of decoding are without effect: the model writes no text");
    }
    let mut corpus = Corpus::load(&command.data)?;
    corpus.choose_channel(command.channel);
    match verifies {
        true => verify(command, model, head, corpus, global),
        false => classify(command, model, head, corpus, global),
    }
}

/// Gives `give` the result of `forward` for every recording.
fn process_all<T>(
    command: &Evaluate,
    corpus: &Corpus,
    global: &Global,
    forward: &mut Forward<'_, T>,
) -> Result<(Vec<Option<T>>, Time, Exclusions)> {
    let begun = Instant::now();
    let utterances = &corpus.utterances;
    let mut reporter = Reporter::new(global.quiet);
    reporter.begin("evaluating", utterances.len() as u64);
    let mut predicted: Vec<Option<T>> = utterances.iter().map(|_| None).collect();
    let mut give = |at: usize, one: T| predicted[at] = Some(one);
    let Processed { audio_seconds, left_out } =
        process_corpus(forward, &|_, _| None, utterances, command.strict, &mut reporter, &mut give)?;
    reporter.end();
    if predicted.iter().all(Option::is_none) {
        return Err(nothing_scored(utterances.len(), &left_out));
    }
    let seconds = begun.elapsed().as_secs_f64();
    Ok((predicted, Time { audio_seconds, seconds, rtf: seconds / audio_seconds }, left_out))
}

fn classify(
    command: &Evaluate,
    model: &SavedModel,
    head: &UtteranceHead,
    mut corpus: Corpus,
    global: &Global,
) -> Result<()> {
    corpus.tell(head.target)?;
    let said = corpus.texts()?;
    let device = Device::open(global)?;
    let mut classifier = Classifier::of(&DeviceModel::new(device.gpu.clone(), model)?)?;
    let mut forward = |waveforms: &[&[f32]]| block_on(classifier.classify(waveforms));
    let (predicted, time, left_out) = process_all(command, &corpus, global, &mut forward)?;
    let predicted: Vec<(usize, Classified)> =
        predicted.into_iter().enumerate().filter_map(|(at, one)| Some((at, one?))).collect();
    let classes: Vec<usize> = predicted.iter().map(|(_, one)| one.class).collect();
    let said: Vec<&str> = predicted.iter().map(|(at, _)| said[*at]).collect();
    let scores = tasks::classification(&head.labels, &said, &classes);
    let scores = scores.ok_or_else(|| nothing_scored(corpus.utterances.len(), &left_out))?;
    let result = |(at, one): &(usize, Classified)| Judged {
        audio_filepath: corpus.utterances[*at].audio.to_string(),
        label: corpus.utterances[*at].text.clone().unwrap_or_default(),
        hypothesis: head.labels[one.class].clone(),
        probability: one.probabilities[one.class],
    };
    let results = predicted.iter().map(result).collect();
    let report = Classes {
        task: TaskKind::Classify,
        scores,
        time,
        results,
        left_out_reasons: left_out.counts(),
        left_out: left_out.first(usize::MAX),
    };
    if let Some(path) = &command.svg {
        write_whole(path, confusion_grid(&report.scores).svg().as_bytes())?;
    }
    if command.json { print_json(&report) } else { print(classes_summary(&report, head.labels.len())) }
}

/// The confusion matrix; a row's darkness is its share.
fn confusion_grid(scores: &Classification) -> Grid<'static> {
    let cells = scores.confusion.iter().flat_map(|row| {
        let all = row.iter().sum::<usize>().max(1) as f64;
        row.iter().map(move |&count| Some((count as f64 / all, count.to_string())))
    });
    Grid {
        down: "said",
        across: "heard",
        rows: scores.labels.clone(),
        columns: scores.labels.clone(),
        cells: cells.collect(),
    }
}

fn classes_summary(report: &Classes, known: usize) -> String {
    let Classes { scores, time, .. } = report;
    let mut text = format!(
        "accuracy  {}\nmacro-F1  {}\n",
        rate(Some(scores.accuracy), Some(scores.accuracy_ci)),
        rate(Some(scores.macro_f1), Some(scores.macro_f1_ci))
    );
    let _ = writeln!(
        text,
        "{} utterances of {} classes, {}",
        scores.utterances,
        scores.classes.len(),
        took(time)
    );
    let unknown: usize = scores.confusion[known..].iter().flatten().sum();
    if unknown > 0 {
        let names = scores.labels[known..].join(", ");
        let _ = writeln!(text, "{unknown} utterances are of classes that the model does not know: {names}");
    }
    text.push_str(&left_out(scores.utterances, &report.left_out, &report.left_out_reasons));
    if scores.labels.len() <= SHOWN {
        let mut rows =
            vec![std::iter::once("said \\ heard".to_owned()).chain(scores.labels.clone()).collect()];
        for (label, row) in scores.labels.iter().zip(&scores.confusion) {
            let cells: Vec<String> =
                std::iter::once(label.clone()).chain(row.iter().map(usize::to_string)).collect();
            rows.push(cells);
        }
        let _ = write!(text, "\n{}", table(&rows));
        return text;
    }
    let mut confused: Vec<(usize, &str, &str)> = Vec::new();
    for (said, row) in scores.labels.iter().zip(&scores.confusion) {
        let others =
            row.iter().zip(&scores.labels).filter(|&(&count, predicted)| count > 0 && predicted != said);
        confused.extend(others.map(|(&count, predicted)| (count, said.as_str(), predicted.as_str())));
    }
    confused.sort_by_key(|(count, ..)| std::cmp::Reverse(*count));
    if !confused.is_empty() {
        text.push_str("\nmost confused\n");
    }
    for (count, said, predicted) in confused.into_iter().take(CONFUSED) {
        let _ = writeln!(text, "{count:>7}  {said} as {predicted}");
    }
    text
}

fn took(time: &Time) -> String {
    let Time { audio_seconds, seconds, rtf } = time;
    format!("{audio_seconds:.1} s of audio in {seconds:.1} s (real-time factor {rtf:.4})")
}

fn verify(
    command: &Evaluate,
    model: &SavedModel,
    head: &UtteranceHead,
    mut corpus: Corpus,
    global: &Global,
) -> Result<()> {
    let listed = match &command.trials {
        Some(path) => {
            let listed = tasks::parse(path, &read_text(path)?, &Names::of(&corpus.utterances))?;
            // Only what is compared is processed.
            Some(keep_compared(&mut corpus, listed))
        }
        None => None,
    };
    if let Err(error) = corpus.tell(head.target) {
        if listed.is_none() {
            return Err(error);
        }
        let message = "speakers of the data are not known: intervals are over recordings";
        if !global.quiet {
            note(message);
        }
        let names: Vec<String> = (0..corpus.utterances.len()).map(|at| at.to_string()).collect();
        corpus.utterances.iter_mut().zip(names).for_each(|(utterance, name)| utterance.text = Some(name));
    }
    let device = Device::open(global)?;
    let mut embedder = Embedder::of(&DeviceModel::new(device.gpu.clone(), model)?)?;
    let mut forward = |waveforms: &[&[f32]]| block_on(embedder.embed(waveforms));
    let (predicted, time, left_out) = process_all(command, &corpus, global, &mut forward)?;
    let said = corpus.texts()?;
    let utterances = predicted.iter().flatten().count();
    let (mut results, mut left_out_trials) = (None, 0);
    let trials = match &listed {
        None => {
            let pairs: Vec<(&str, Vec<f32>)> =
                said.iter().zip(&predicted).filter_map(|(said, one)| Some((*said, one.clone()?))).collect();
            tasks::all_pairs(&pairs)
        }
        Some(listed) => {
            let (trials, compared) = compare(listed, &said, &predicted, &corpus.utterances);
            left_out_trials = listed.len() - trials.len();
            results = Some(compared);
            trials
        }
    };
    let scores = tasks::verification(&trials).ok_or_else(|| {
        let targets = trials.iter().filter(|trial| trial.same).count();
        Error::invalid(format!(
            "of {} trials {targets} are of one speaker; both kinds are needed: give more data, or other trials",
            trials.len()
        ))
    })?;
    let report = Speakers {
        task: TaskKind::Verify,
        scores,
        utterances,
        time,
        results,
        left_out_trials,
        left_out_reasons: left_out.counts(),
        left_out: left_out.first(usize::MAX),
    };
    if let Some(path) = &command.svg {
        write_whole(path, detection(&report.scores.curve, report.scores.eer).as_bytes())?;
    }
    if command.json { print_json(&report) } else { print(speakers_summary(&report)) }
}

/// Leaves out recordings that are in no trial.
fn keep_compared(corpus: &mut Corpus, mut listed: Vec<tasks::Listed>) -> Vec<tasks::Listed> {
    let mut places = vec![None; corpus.utterances.len()];
    listed.iter().flat_map(|one| one.sides).for_each(|at| places[at] = Some(0));
    for (number, place) in places.iter_mut().flatten().enumerate() {
        *place = number;
    }
    let mut kept = places.iter().map(Option::is_some);
    corpus.utterances.retain(|_| kept.next().unwrap_or(false));
    for one in &mut listed {
        one.sides = one.sides.map(|at| places[at].unwrap_or(0));
    }
    listed
}

/// The trials whose recordings could be read.
fn compare(
    listed: &[tasks::Listed],
    said: &[&str],
    predicted: &[Option<Vec<f32>>],
    utterances: &[Utterance],
) -> (Vec<Trial>, Vec<Compared>) {
    let mut numbers: BTreeMap<&str, usize> = BTreeMap::new();
    for speaker in said {
        let next = numbers.len();
        numbers.entry(speaker).or_insert(next);
    }
    let compared = listed.iter().filter_map(|one| {
        let [a, b] = one.sides;
        let score = tasks::cosine(predicted[a].as_ref()?, predicted[b].as_ref()?);
        let speakers = one.sides.map(|at| numbers[said[at]]);
        let audio_filepaths = one.sides.map(|at| utterances[at].audio.to_string());
        let trial = Trial { score, same: one.same, speakers };
        Some((trial, Compared { audio_filepaths, target: one.same, score }))
    });
    compared.unzip()
}

fn speakers_summary(report: &Speakers) -> String {
    let Speakers { scores, time, .. } = report;
    let cost = match scores.min_dcf_ci {
        Some([low, high]) => format!("{:>9.4}  (95 %: {low:.4} to {high:.4})", scores.min_dcf),
        None => format!("{:>9.4}", scores.min_dcf),
    };
    let eer = match scores.eer_ci {
        Some(interval) => rate(Some(scores.eer), Some(interval)),
        None => format!("{:>9}", percent(scores.eer)),
    };
    let mut text = format!("EER     {eer}\nminDCF  {cost}  (1 % of targets)\n");
    let _ = writeln!(
        text,
        "{} trials, {} of one speaker, {} speakers, {} utterances, {}",
        thousands(scores.trials),
        thousands(scores.targets),
        scores.speakers,
        report.utterances,
        took(time)
    );
    if report.left_out_trials > 0 {
        let _ = writeln!(text, "left out of the rates: {} trials", report.left_out_trials);
    }
    text.push_str(&left_out(report.utterances, &report.left_out, &report.left_out_reasons));
    text
}
