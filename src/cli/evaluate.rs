//! `polymix evaluate`

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use serde::Serialize;
use web_time::Instant;

use super::adapter::Device;
use super::arguments::{Evaluate, Global};
use super::decoding::beside;
use super::inference::{NAMED, Processed, recognize_corpus};
use super::judge;
use super::output::{percent, print, print_json, table, thousands};
use super::progress::Reporter;
use crate::data::{Corpus, Exclusions, LeftOut, Why, counted};
use crate::decode::{Decoder, Kind};
use crate::error::{Error, Result};
use crate::models::{ModelOutput, Recognizer, SavedModel};
use crate::text::{Confusion, Confusions, Evaluation, Outside, Score, evaluate, score};
use crate::train::Progress;

/// Utterances that are shown as the worst.
const WORST: usize = 5;
/// Confused words that the table shows, and that `--json` has at the most.
const CONFUSED: usize = 10;
const MOST_CONFUSED: usize = 200;

/// The output of `--json`.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    #[serde(flatten)]
    pub rates: Evaluation,
    pub audio_seconds: f64,
    pub seconds: f64,
    pub rtf: f64,
    pub decoder: Kind,
    /// Seconds that decoding takes on one core, and its share of the time of all cores.
    pub decoding_seconds: f64,
    pub decoding_share: f64,
    /// The rates of greedy decoding, beside those of another decoder.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub greedy: Option<Evaluation>,
    /// Words that were taken for others, left out or put in, the most frequent first.
    pub confusions: Vec<Confusion>,
    pub results: Vec<Transcript>,
    /// Utterances left out of the rates, and how many there are for which reason.
    pub left_out: Vec<LeftOut>,
    pub left_out_reasons: BTreeMap<Why, usize>,
    pub outside_vocabulary: OutsideVocabulary,
}

/// Characters of the references that are not in the vocabulary.
#[derive(Debug, Serialize)]
pub(super) struct OutsideVocabulary {
    #[serde(flatten)]
    pub found: Outside,
    /// Whether it was left out of the references; if not, it counts as errors.
    pub ignored: bool,
}

/// The text and the hypothesis.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Transcript {
    pub audio_filepath: String,
    pub text: String,
    pub hypothesis: String,
    #[serde(skip)]
    score: Score,
    #[serde(skip)]
    greedy: Option<Score>,
}

/// The hypothesis for a recording.
struct Found {
    at: usize,
    text: String,
    /// With another decoder, what greedy decoding finds.
    greedy: Option<String>,
    seconds: f64,
}

/// What counts.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Scoring {
    /// Whether a bad recording is an error; otherwise it is left out by name.
    pub strict: bool,
    /// Whether characters that the model cannot write are left out of the references.
    pub ignore_outside: bool,
}

/// Scores a model on data.
pub(super) fn run(command: &Evaluate, global: &Global) -> Result<()> {
    global.note_without_recipe("evaluate");
    let model = SavedModel::load(&command.model)?;
    if model.config.kind.utterance().is_some() {
        return judge::run(command, &model, global);
    }
    if command.trials.is_some() || command.svg.is_some() {
        return Err(Error::usage(
            "--trials and --svg are of models that judge utterances, and this is none; leave them out",
        ));
    }
    let decoder = command.decoding.of_model(&command.model, &model, 1, global)?;
    let mut corpus = Corpus::load(&command.data)?;
    corpus.texts()?;
    corpus.choose_channel(command.channel);
    let device = Device::open(global)?;
    let mut recognizer = recognizer(&device, model, &command.model)?;
    if let Some(decoder) = decoder {
        recognizer.set_decoder(decoder, 1)?;
    }
    let scoring = Scoring { strict: command.strict, ignore_outside: command.ignore_outside_vocabulary };
    let report = score_corpus(&mut recognizer, &corpus, scoring, &mut Reporter::new(global.quiet))?;
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
    scoring: Scoring,
    progress: &mut dyn Progress,
) -> Result<Report> {
    let texts = corpus.texts()?;
    let utterances = &corpus.utterances;
    let begun = Instant::now();
    let decoder = recognizer.decoder().clone();
    let kind = decoder.kind();
    let greedy = match kind {
        Kind::Greedy => None,
        Kind::Beam => Some(Decoder::greedy(recognizer.vocabulary())?),
    };
    let decode = |(at, output): (usize, ModelOutput)| {
        let begun = Instant::now();
        let text = output.decode(&decoder, 1).text;
        let seconds = begun.elapsed().as_secs_f64();
        Found { at, text, greedy: greedy.as_ref().map(|greedy| output.decode(greedy, 1).text), seconds }
    };
    progress.begin("evaluating", texts.len() as u64);
    // What the device hands over is decoded on all cores, while it works on the next.
    let recognize = |give: &mut dyn FnMut((usize, ModelOutput))| {
        recognize_corpus(recognizer, utterances, scoring.strict, progress, &mut |at, output| {
            give((at, output))
        })
    };
    let (Processed { audio_seconds, left_out }, found) = beside(decode, recognize)?;
    let seconds = begun.elapsed().as_secs_f64();
    let decoding_seconds: f64 = found.iter().map(|found| found.seconds).sum();
    let cores = std::thread::available_parallelism().map_or(1, usize::from) as f64;
    let mut found_at: Vec<Option<Found>> = texts.iter().map(|_| None).collect();
    for one in found {
        let at = one.at;
        found_at[at] = Some(one);
    }

    let scored = || found_at.iter().zip(&texts).filter(|(hypothesis, _)| hypothesis.is_some());
    let outside = Outside::of(recognizer.vocabulary(), scored().map(|(_, text)| text));
    if outside.utterances > 0 {
        tracing::warn!("{}", outside_sentence(&outside, scored().count(), scoring.ignore_outside));
    }
    let mut confusions = Confusions::default();
    let results: Vec<Transcript> = found_at
        .into_iter()
        .zip(&texts)
        .zip(utterances)
        .filter_map(|((hypothesis, text), utterance)| {
            let Found { text: hypothesis, greedy, .. } = hypothesis?;
            let reference = if scoring.ignore_outside { outside.strip(text) } else { (*text).to_owned() };
            confusions.add(&reference, &hypothesis);
            Some(Transcript {
                audio_filepath: utterance.audio.to_string(),
                text: (*text).to_owned(),
                score: score(&reference, &hypothesis),
                greedy: greedy.map(|greedy| score(&reference, &greedy)),
                hypothesis,
            })
        })
        .collect();
    if results.is_empty() {
        return Err(nothing_scored(texts.len(), &left_out));
    }
    let scores: Vec<Score> = results.iter().map(|result| result.score).collect();
    let greedy: Option<Vec<Score>> = results.iter().map(|result| result.greedy).collect();
    Ok(Report {
        rates: evaluate(&scores),
        decoder: kind,
        decoding_seconds,
        decoding_share: decoding_seconds / (cores * seconds),
        greedy: greedy.map(|scores| evaluate(&scores)),
        confusions: confusions.most(MOST_CONFUSED),
        audio_seconds,
        seconds,
        rtf: seconds / audio_seconds,
        results,
        left_out_reasons: left_out.counts(),
        left_out: left_out.first(usize::MAX),
        outside_vocabulary: OutsideVocabulary { found: outside, ignored: scoring.ignore_outside },
    })
}

/// The error where none of `count` recordings can be scored.
pub(super) fn nothing_scored(count: usize, left_out: &Exclusions) -> Error {
    let first = left_out.iter().next().map_or(String::new(), |(_, one)| format!("; the first: {one}"));
    Error::invalid(format!("none of the {count} recordings can be scored: {left_out}{first}; correct --data"))
}

fn outside_sentence(outside: &Outside, utterances: usize, ignored: bool) -> String {
    let what = match ignored {
        true => "they are left out of the score",
        false => "they count as errors; --ignore-outside-vocabulary leaves them out of the score",
    };
    format!(
        "{} of {utterances} texts hold characters that the model cannot write ({}): {what}",
        outside.utterances,
        outside.describe()
    )
}

/// A rate with its interval.
pub(super) fn rate(rate: Option<f64>, interval: Option<[f64; 2]>) -> String {
    match (rate, interval) {
        (Some(rate), Some([low, high])) => {
            format!("{:>9}  (95 %: {} to {})", percent(rate), percent(low), percent(high))
        }
        _ => "     none  (the references hold no word)".to_owned(),
    }
}

/// Utterances left out of the rates of `utterances`, as lines.
pub(super) fn left_out(utterances: usize, left_out: &[LeftOut], reasons: &BTreeMap<Why, usize>) -> String {
    let mut text = String::new();
    if left_out.is_empty() {
        return text;
    }
    let all = utterances + left_out.len();
    let kinds = counted(reasons);
    let _ = writeln!(text, "left out of the rates: {} of {all} utterances ({kinds})", left_out.len());
    for one in left_out.iter().take(NAMED) {
        let _ = writeln!(text, "  {one}");
    }
    if left_out.len() > NAMED {
        let _ = writeln!(text, "  and {} others, which --json names", left_out.len() - NAMED);
    }
    text
}

fn summary(report: &Report) -> String {
    let rates = &report.rates;
    let mut text = match &report.greedy {
        None => format!("WER  {}\nCER  {}\n", rate(rates.wer, rates.wer_ci), rate(rates.cer, rates.cer_ci)),
        Some(greedy) => {
            let row = |name: &str, rates: &Evaluation| {
                let kinds = [rates.substituted, rates.inserted, rates.deleted].map(thousands);
                let [wer, cer] = [rate(rates.wer, rates.wer_ci), rate(rates.cer, rates.cer_ci)]
                    .map(|rate| rate.trim().into());
                let [substituted, inserted, deleted] = kinds;
                [name.to_owned(), wer, cer, substituted, inserted, deleted]
            };
            let head = ["", "WER", "CER", "substituted", "inserted", "deleted"].map(str::to_owned);
            table(&[head, row("greedy", greedy), row("beam", rates)]) + "\n"
        }
    };
    let _ = writeln!(
        text,
        "{} utterances, {} words ({} substituted, {} inserted, {} deleted), {:.1} s of audio in {:.1} s (real-time \
         factor {:.4})\ndecoding takes {:.2} s of one core, {} of the time of all cores",
        rates.utterances,
        rates.words,
        rates.substituted,
        rates.inserted,
        rates.deleted,
        report.audio_seconds,
        report.seconds,
        report.rtf,
        report.decoding_seconds,
        percent(report.decoding_share),
    );
    let OutsideVocabulary { found, ignored } = &report.outside_vocabulary;
    if found.utterances > 0 {
        let _ = writeln!(text, "{}", outside_sentence(found, rates.utterances, *ignored));
    }
    text.push_str(&left_out(rates.utterances, &report.left_out, &report.left_out_reasons));
    if !report.confusions.is_empty() {
        text.push_str("\nmost confused\n");
        for Confusion { reference, hypothesis, count } in report.confusions.iter().take(CONFUSED) {
            let _ = match (reference, hypothesis) {
                (Some(reference), Some(hypothesis)) => {
                    writeln!(text, "{count:>7}  {reference} as {hypothesis}")
                }
                (Some(said), None) => writeln!(text, "{count:>7}  {said} left out"),
                (None, hypothesis) => {
                    writeln!(text, "{count:>7}  {} put in", hypothesis.as_deref().unwrap_or_default())
                }
            };
        }
    }
    let errors = |result: &Transcript| (result.score.words.errors(), result.score.characters.errors());
    let mut worst: Vec<&Transcript> = report.results.iter().filter(|r| r.score.words.errors() > 0).collect();
    worst.sort_by_key(|result| std::cmp::Reverse(errors(result)));
    for result in worst.iter().take(WORST) {
        let _ = write!(
            text,
            "\n{}: {} wrong for {} said\n  said   {}\n  heard  {}\n",
            result.audio_filepath,
            result.score.words.errors(),
            result.score.words.total,
            result.text,
            result.hypothesis
        );
    }
    text
}
