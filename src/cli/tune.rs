//! `polymix tune`: the weights of a language model by the error rate on data with text.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;
use web_time::Instant;

use super::adapter::Device;
use super::arguments::{Global, Tune};
use super::decoding::beside;
use super::drawing::Grid;
use super::evaluate::{nothing_scored, rate, recognizer};
use super::inference::{Processed, recognize_corpus};
use super::output::{note, percent, print, print_json, table};
use super::progress::Reporter;
use super::train::stop_on_interrupt;
use crate::data::{Corpus, LeftOut, Why, counted};
use crate::decode::{Alphabet, Decoder, Kind, Resources, Settings};
use crate::error::{Error, Result};
use crate::files::write_whole;
use crate::models::{ModelOutput, SavedModel};
use crate::text::{Evaluation, Score, evaluate, score};
use crate::train::{Progress, interrupted};

/// The output of `--json`.
#[derive(Debug, Serialize)]
struct Report {
    /// The contents of `decoder.json`.
    settings: Settings,
    /// Its rates on the data, and those of greedy decoding.
    rates: Evaluation,
    greedy: Evaluation,
    left_out: Vec<LeftOut>,
    left_out_reasons: BTreeMap<Why, usize>,
    surface: Vec<Tried>,
    beams: Vec<Tried>,
}

/// The rates of one set of weights.
#[derive(Debug, Clone, Serialize)]
struct Tried {
    alpha: f64,
    beta: f64,
    beam: usize,
    wer: Option<f64>,
    cer: Option<f64>,
    /// Of all cores.
    seconds: f64,
}

impl Tried {
    /// Smaller is better.
    fn order(&self, other: &Self) -> std::cmp::Ordering {
        let key = |tried: &Self| [tried.wer, tried.cer].map(|rate| rate.unwrap_or(f64::INFINITY));
        let ([wer, cer], [other_wer, other_cer]) = (key(self), key(other));
        wer.total_cmp(&other_wer).then(cer.total_cmp(&other_cer)).then(self.beam.cmp(&other.beam))
    }
}

/// The model's outputs for the data, computed once for all that is tried.
struct Development {
    alphabet: Alphabet,
    resources: Resources,
    outputs: Vec<Labeled>,
}

/// A recording and its text.
type Labeled = (ModelOutput, String);

/// Finds the best weights and writes them beside the model.
pub(super) fn run(command: &Tune, global: &Global) -> Result<()> {
    global.note_without_recipe("tune");
    let folder = SavedModel::folder(&command.model)?;
    let model = SavedModel::load(&folder)?;
    let base = Settings::of_model(&folder)?.unwrap_or_default();
    let base = Settings { decoder: Kind::Beam, ..command.search.settings(base) };
    if base.lm.is_none() {
        return Err(Error::usage(
            "tuning is for a language model; give --lm LM, as `polymix lm train` makes one",
        ));
    }
    let tried = |alpha, beta, beam| Settings { alpha, beta, beam, ..base.clone() };
    for &alpha in &command.alpha {
        for &beta in &command.beta {
            tried(alpha, beta, command.beam[0]).validate()?;
        }
    }
    let resources = command.search.resources(&base)?;
    let mut corpus = Corpus::load(&command.data)?;
    corpus.texts()?;
    corpus.choose_channel(command.channel);
    let device = Device::open(global)?;
    let mut recognizer = recognizer(&device, model, &command.model)?;
    let alphabet = Alphabet::of(recognizer.vocabulary())?;
    let decoder = Decoder::new(alphabet.clone(), base.clone(), &resources)?;
    recognizer.set_decoder(Arc::new(decoder), 1)?;
    stop_on_interrupt();
    let mut reporter = Reporter::new(global.quiet);
    let (texts, utterances) = (corpus.texts()?, &corpus.utterances);
    reporter.begin("recognizing", texts.len() as u64);
    let mut outputs = Vec::with_capacity(texts.len());
    let mut keep = |at: usize, one: ModelOutput| outputs.push((one, texts[at].to_owned()));
    let Processed { left_out, .. } =
        recognize_corpus(&mut recognizer, utterances, command.strict, &mut reporter, &mut keep)?;
    if outputs.is_empty() {
        return Err(nothing_scored(texts.len(), &left_out));
    }
    let development = Development { alphabet, resources, outputs };

    let total = command.alpha.len() * command.beta.len() + command.beam.len() - 1;
    reporter.begin("tuning", total as u64);
    let mut done = 0;
    let mut attempt = |settings: Settings| -> Result<Tried> {
        let found = development.try_out(settings)?;
        done += 1;
        reporter.advance(done);
        Ok(found)
    };
    let mut surface = Vec::new();
    for &alpha in &command.alpha {
        for &beta in &command.beta {
            surface.push(attempt(tried(alpha, beta, command.beam[0]))?);
        }
    }
    let best = surface.iter().min_by(|a, b| a.order(b)).cloned();
    let best = best.ok_or_else(|| Error::usage("nothing is tried; give values of --alpha and --beta"))?;
    let mut beams = vec![best.clone()];
    for &beam in &command.beam[1..] {
        beams.push(attempt(tried(best.alpha, best.beta, beam))?);
    }
    reporter.end();
    let best = beams.iter().min_by(|a, b| a.order(b)).cloned().unwrap_or(best);
    let settings = tried(best.alpha, best.beta, best.beam);
    let rates = evaluate(&development.scores(settings.clone())?);
    let greedy = Settings { decoder: Kind::Greedy, ..settings.clone() };
    let report = Report {
        rates,
        greedy: evaluate(&development.scores(greedy)?),
        left_out_reasons: left_out.counts(),
        left_out: left_out.first(usize::MAX),
        surface,
        beams,
        settings: settings.clone(),
    };
    if report.rates.wer.is_none() {
        return Err(Error::invalid(
            "the texts of --data hold no word, so that no weights are better; give others",
        ));
    }
    settings.save(&folder)?;
    if !global.quiet {
        note(format!("wrote {}", folder.join(Settings::FILE).display()));
    }
    if let Some(path) = &command.svg {
        write_whole(path, svg(command, &report).as_bytes())?;
    }
    if command.json { print_json(&report) } else { print(summary(command, &report, &folder)) }
}

impl Development {
    /// The scores of all recordings with a decoder, on all cores.
    fn scores(&self, settings: Settings) -> Result<Vec<Score>> {
        if interrupted() {
            return Err(Error::Interrupted);
        }
        let decoder = Decoder::new(self.alphabet.clone(), settings, &self.resources)?;
        let work = |(output, text): &Labeled| score(text, &output.decode(&decoder, 1).text);
        let ((), scores) = beside(work, |give| {
            self.outputs.iter().for_each(give);
            Ok(())
        })?;
        Ok(scores)
    }

    fn try_out(&self, settings: Settings) -> Result<Tried> {
        let Settings { alpha, beta, beam, .. } = settings;
        let begun = Instant::now();
        let scores = self.scores(settings)?;
        let seconds = begun.elapsed().as_secs_f64();
        let sum: Score = scores.into_iter().fold(Score::default(), |mut sum, one| {
            sum.words += one.words;
            sum.characters += one.characters;
            sum
        });
        Ok(Tried { alpha, beta, beam, wer: sum.words.rate(), cer: sum.characters.rate(), seconds })
    }
}

fn summary(command: &Tune, report: &Report, folder: &Path) -> String {
    let Report { settings, rates, greedy, surface, beams, left_out, left_out_reasons } = report;
    let mut text = format!("WER by alpha (down) and beta (across), beam {}\n", command.beam[0]);
    let head = std::iter::once(String::new()).chain(command.beta.iter().map(f64::to_string));
    let mut rows = vec![head.collect::<Vec<String>>()];
    for (alpha, row) in command.alpha.iter().zip(surface.chunks(command.beta.len())) {
        let cell = |tried: &Tried| {
            let chosen = (tried.alpha, tried.beta) == (settings.alpha, settings.beta);
            format!("{}{}", tried.wer.map_or("none".to_owned(), percent), if chosen { " *" } else { "" })
        };
        rows.push(std::iter::once(alpha.to_string()).chain(row.iter().map(cell)).collect());
    }
    text.push_str(&table(&rows));
    let _ = writeln!(text, "\n\nWER by beam, alpha {}, beta {}", settings.alpha, settings.beta);
    let mut rows = vec![["beam", "WER", "seconds"].map(str::to_owned)];
    for tried in beams {
        let beam = format!("{}{}", tried.beam, if tried.beam == settings.beam { " *" } else { "" });
        rows.push([beam, tried.wer.map_or("none".to_owned(), percent), format!("{:.2}", tried.seconds)]);
    }
    text.push_str(&table(&rows));
    let row = |name: &str, rates: &Evaluation| {
        let rates = [rate(rates.wer, rates.wer_ci), rate(rates.cer, rates.cer_ci)];
        let [wer, cer] = rates.map(|rate| rate.trim().to_owned());
        [name.to_owned(), wer, cer]
    };
    let head = ["", "WER", "CER"].map(str::to_owned);
    let _ = writeln!(text, "\n\n{}", table(&[head, row("greedy", greedy), row("beam", rates)]));
    let _ = writeln!(
        text,
        "{} utterances, {} words; alpha {}, beta {}, beam {} are in {}",
        rates.utterances,
        rates.words,
        settings.alpha,
        settings.beta,
        settings.beam,
        folder.join(Settings::FILE).display()
    );
    if !left_out.is_empty() {
        let _ = writeln!(text, "left out: {}; the first: {}", counted(left_out_reasons), left_out[0]);
    }
    text
}

/// The surface as a chart: dark is low.
fn svg(command: &Tune, report: &Report) -> String {
    let rates = || report.surface.iter().filter_map(|tried| tried.wer);
    let (low, high) =
        rates().fold((f64::INFINITY, 0.0_f64), |(low, high), wer| (low.min(wer), high.max(wer)));
    let cell = |tried: &Tried| {
        let wer = tried.wer?;
        Some((1.0 - ((wer - low) / (high - low).max(1e-9)).sqrt(), percent(wer)))
    };
    let grid = Grid {
        down: "alpha",
        across: "beta",
        rows: command.alpha.iter().map(f64::to_string).collect(),
        columns: command.beta.iter().map(f64::to_string).collect(),
        cells: report.surface.iter().map(cell).collect(),
    };
    grid.svg()
}
