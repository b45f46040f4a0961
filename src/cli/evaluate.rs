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
use super::sources::{Ahead, about};
use crate::audio::{Place, Recording, SAMPLE_RATE};
use crate::data::{Corpus, LeftOut, TOLERANCE_SECONDS, Utterance};
use crate::error::{Error, Result};
use crate::models::{Recognizer, SavedModel};
use crate::text::{Evaluation, Outside, Score, evaluate, score};
use crate::train::Progress;

/// Samples that are recognized together, unless one recording has more: ten minutes.
const TOGETHER: usize = 600 * SAMPLE_RATE as usize;
/// Utterances that are shown as the worst.
const WORST: usize = 5;
/// Recordings that the table names as left out; `--json` names all.
const NAMED: usize = 20;

/// What `--json` prints.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    #[serde(flatten)]
    pub rates: Evaluation,
    pub audio_seconds: f64,
    pub seconds: f64,
    pub rtf: f64,
    pub results: Vec<Transcript>,
    /// What the rates do not include.
    pub left_out: Vec<LeftOut>,
    pub outside_vocabulary: OutsideVocabulary,
}

/// What the references hold that the model cannot write.
#[derive(Debug, Serialize)]
pub(super) struct OutsideVocabulary {
    #[serde(flatten)]
    pub found: Outside,
    /// Whether it was left out of the references; if not, it counts as errors.
    pub ignored: bool,
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
    if command.decoder == Decoder::Beam || command.lm.is_some() {
        let message =
            "beam search and language models are not available yet; use --decoder greedy without --lm";
        return Err(Error::usage(message));
    }
    global.note_without_recipe("evaluate");
    let model = SavedModel::load(&command.model)?;
    let mut corpus = Corpus::load(&command.data)?;
    corpus.texts()?;
    corpus.choose_channel(command.channel);
    let device = Device::open(global)?;
    let mut recognizer = recognizer(&device, model, &command.model)?;
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
    // Recordings of one length share a batch; which is which matters for nothing else.
    let lengths: Vec<f64> = utterances.iter().map(guess).collect();
    let mut order: Vec<usize> = (0..texts.len()).collect();
    order.sort_by(|&a, &b| lengths[b].total_cmp(&lengths[a]));

    let begun = Instant::now();
    let mut heard: Vec<Option<String>> = vec![None; texts.len()];
    let (mut audio_seconds, mut left_out, mut disagreeing, mut done) = (0.0, Vec::new(), 0, 0);
    progress.begin("evaluating", texts.len() as u64);
    let mut ahead = Ahead::start(order.iter().map(|&at| utterances[at].audio.clone()).collect())?;
    loop {
        let group = ahead.group(TOGETHER);
        if group.is_empty() {
            break;
        }
        done += group.len();
        let mut audios = Vec::with_capacity(group.len());
        for (place, read) in group {
            let at = order[place];
            match read {
                Ok(audio) => audios.push((at, audio)),
                Err(error @ Error::Interrupted) => return Err(error),
                Err(error) => {
                    let error = about(&utterances[at], error);
                    if scoring.strict {
                        return Err(error);
                    }
                    tracing::warn!("left out: {error}");
                    left_out.push((at, LeftOut::refused(&utterances[at], &error)));
                }
            }
        }
        let waves: Vec<&[f32]> = audios.iter().map(|(_, audio)| audio.samples.as_slice()).collect();
        for ((at, audio), found) in audios.iter().zip(block_on(recognizer.recognize(&waves))?) {
            audio_seconds += audio.seconds();
            if let Some(stated) = utterances[*at].duration
                && (stated - audio.seconds()).abs() > TOLERANCE_SECONDS
            {
                disagreeing += 1;
                if disagreeing <= NAMED {
                    let (name, origin) = (&utterances[*at].audio, &utterances[*at].origin);
                    let seconds = audio.seconds();
                    tracing::warn!(
                        "{name} ({origin}) lasts {seconds:.2} s, not {stated} s; its own length counts"
                    );
                }
            }
            heard[*at] = Some(found.text);
        }
        progress.advance(done as u64);
    }
    if disagreeing > NAMED {
        tracing::warn!("{} other recordings do not last as long as their manifest says", disagreeing - NAMED);
    }
    left_out.sort_by_key(|(at, _)| *at);
    let left_out: Vec<LeftOut> = left_out.into_iter().map(|(_, one)| one).collect();
    let seconds = begun.elapsed().as_secs_f64();

    let scored = || heard.iter().zip(&texts).filter(|(hypothesis, _)| hypothesis.is_some());
    let outside = Outside::of(recognizer.vocabulary(), scored().map(|(_, text)| text));
    if outside.utterances > 0 {
        tracing::warn!("{}", outside_sentence(&outside, scored().count(), scoring.ignore_outside));
    }
    let results: Vec<Transcript> = heard
        .into_iter()
        .zip(&texts)
        .zip(utterances)
        .filter_map(|((hypothesis, text), utterance)| {
            let hypothesis = hypothesis?;
            let reference = if scoring.ignore_outside { outside.strip(text) } else { (*text).to_owned() };
            Some(Transcript {
                audio_filepath: utterance.audio.to_string(),
                text: (*text).to_owned(),
                score: score(&reference, &hypothesis),
                hypothesis,
            })
        })
        .collect();
    if results.is_empty() {
        let first = left_out.first().map_or(String::new(), |one| format!(", the first {}", one.reason));
        return Err(Error::invalid(format!(
            "none of the {} recordings can be read{first}; check the paths in the manifest",
            texts.len()
        )));
    }
    let scores: Vec<Score> = results.iter().map(|result| result.score).collect();
    Ok(Report {
        rates: evaluate(&scores),
        audio_seconds,
        seconds,
        rtf: seconds / audio_seconds,
        results,
        left_out,
        outside_vocabulary: OutsideVocabulary { found: outside, ignored: scoring.ignore_outside },
    })
}

/// About how long a recording is, without opening it: seconds where they are known, else by its bytes.
fn guess(utterance: &Utterance) -> f64 {
    let Recording { place, span, .. } = &utterance.audio;
    let known = utterance.duration.or_else(|| span.and_then(|span| span.seconds));
    known.unwrap_or_else(|| {
        let bytes = match place {
            Place::File(path) => path.metadata().map_or(0, |file| file.len()),
            Place::Member { bytes, .. } => *bytes,
            Place::Memory { bytes, .. } => bytes.len() as u64,
            Place::Stdin => 0,
        };
        bytes as f64 / f64::from(2 * SAMPLE_RATE)
    })
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

fn summary(report: &Report) -> String {
    let rates = &report.rates;
    let rate = |rate: Option<f64>, interval: Option<[f64; 2]>| match (rate, interval) {
        (Some(rate), Some([low, high])) => {
            format!("{:>9}  (95 %: {} to {})", percent(rate), percent(low), percent(high))
        }
        _ => "     none  (the references hold no word)".to_owned(),
    };
    let mut text = format!(
        "WER  {}\nCER  {}\n{} utterances, {} words ({} substituted, {} inserted, {} deleted), {:.1} s of audio in \
         {:.1} s (real-time factor {:.4})\n",
        rate(rates.wer, rates.wer_ci),
        rate(rates.cer, rates.cer_ci),
        rates.utterances,
        rates.words,
        rates.substituted,
        rates.inserted,
        rates.deleted,
        report.audio_seconds,
        report.seconds,
        report.rtf
    );
    let OutsideVocabulary { found, ignored } = &report.outside_vocabulary;
    if found.utterances > 0 {
        let _ = writeln!(text, "{}", outside_sentence(found, rates.utterances, *ignored));
    }
    let left_out = &report.left_out;
    if !left_out.is_empty() {
        let all = rates.utterances + left_out.len();
        let _ = writeln!(text, "left out of the rates: {} of {all} utterances", left_out.len());
        for one in left_out.iter().take(NAMED) {
            let _ = writeln!(text, "  {}  {}: {}", one.origin, one.audio_filepath, one.reason);
        }
        if left_out.len() > NAMED {
            let _ = writeln!(text, "  and {} others, which --json names", left_out.len() - NAMED);
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
