//! `polymix adapt`: fine-tunes a model on a few takes.

use std::fmt::Write as _;

use pollster::block_on;
use serde::Serialize;

use super::adapter::Device;
use super::arguments::{Adapt, Global};
use super::output::{note, print, print_json, table};
use super::progress::Reporter;
use super::sources::{Ahead, about};
use super::train::{command_line, stop_on_interrupt};
use crate::adapt::{HeldOut, Outcome, Settings, Take, Target, adapt};
use crate::data::{Corpus, LeftOut, Utterance};
use crate::decode;
use crate::error::{Error, Result};
use crate::files::{is_file, read_text};
use crate::models::SavedModel;
use crate::train::{Progress, interrupted};
use crate::weights::Precision;

/// Left-out takes and changed texts that the table names.
const NAMED: usize = 20;

/// The output of `--json`.
#[derive(Debug, Serialize)]
struct Report<'a> {
    better: bool,
    steps: u64,
    best_step: u64,
    before: Rates,
    after: Rates,
    losses: &'a [f64],
    new_characters: &'a [char],
    utterances: usize,
    held_out: Vec<HeldOutTake<'a>>,
    left_out: &'a [LeftOut],
}

#[derive(Debug, Serialize)]
struct Rates {
    right: usize,
    takes: usize,
    errors: usize,
    loss: f64,
}

#[derive(Debug, Serialize)]
struct HeldOutTake<'a> {
    audio_filepath: String,
    text: &'a str,
    before: &'a str,
    after: &'a str,
}

impl From<HeldOut> for Rates {
    fn from(HeldOut { right, takes, errors, loss }: HeldOut) -> Self {
        Self { right, takes, errors, loss }
    }
}

/// Learns, and writes the better of the two models.
pub(super) fn run(command: &Adapt, global: &Global) -> Result<()> {
    if !global.quiet && !global.settings.is_empty() {
        note("adapt reads no recipe; --set changes nothing here");
    }
    SavedModel::check_room(&command.out)?;
    let folder = SavedModel::folder(&command.model)?;
    let model = SavedModel::load(&folder)?;
    let decoder = decode::Settings::of_model(&folder)?;
    let defaults = Settings::default();
    let mut settings = Settings {
        steps: command.steps,
        layers: command.layers,
        seed: global.seed.unwrap_or(defaults.seed),
        encoder_rate: command.encoder_rate,
        head_rate: command.head_rate,
    };
    settings.steps = Some(global.limit_steps.map_or(settings.steps(), |limit| limit.min(settings.steps())));
    let mut corpus = Corpus::load(&command.data)?;
    if command.labels {
        corpus.tell(crate::recipe::Target::Label)?;
    }
    corpus.texts()?;
    corpus.choose_channel(command.channel);
    let device = Device::open(global)?;
    stop_on_interrupt();
    let (takes, used, mut left_out) = read(&corpus, command)?;
    let wrong = if command.labels { "wrong labels" } else { "wrong characters" };
    let mut reporter = Reporter::new(global.quiet);
    reporter.begin("learning", settings.steps());
    let mut watch = |progress: &crate::adapt::Progress| -> Result<()> {
        if interrupted() {
            return Err(Error::Interrupted);
        }
        reporter.advance(progress.step);
        if let Some(HeldOut { right, takes, errors, loss }) = progress.held_out {
            let batch = progress.loss.map_or(String::new(), |loss| format!("  loss {loss:.4}"));
            reporter.message(&format!(
                "step {}/{}{batch}  held out: {right} of {takes} right, {errors} {wrong}, loss {loss:.4}",
                progress.step, progress.steps
            ));
        }
        Ok(())
    };
    let outcome = block_on(adapt(device.gpu.clone(), &model, &takes, &settings, &mut watch))?;
    reporter.end();
    for one in &outcome.left_out {
        let refused = LeftOut::new(used[one.take], one.reason.clone());
        if command.strict {
            return Err(about(used[one.take], Error::invalid(one.reason.clone())));
        }
        tracing::warn!("left out: {refused}");
        left_out.push(refused);
    }
    let card = match folder.join("README.md") {
        path if is_file(&path)? => read_text(&path)?,
        _ => "# polymix model\n".to_owned(),
    };
    let learned = outcome.card(&format!("`{}`", command_line()), &settings, takes.len());
    let card = format!("{}\n\n{learned}\n", card.trim_end());
    outcome.model.save(&command.out, Precision::F32, &card)?;
    // What tells labels apart decodes nothing.
    if let Some(decoder) = decoder.filter(|_| !command.labels) {
        decoder.save(&command.out)?;
    }
    if command.json {
        let held_out = outcome.held_out.iter().map(|one| HeldOutTake {
            audio_filepath: used[one.take].audio.to_string(),
            text: &one.text,
            before: &one.before,
            after: &one.after,
        });
        return print_json(&Report {
            better: outcome.better,
            steps: settings.steps(),
            best_step: outcome.best_step,
            before: outcome.before.into(),
            after: outcome.after.into(),
            losses: &outcome.losses,
            new_characters: &outcome.new_characters,
            utterances: takes.len() - outcome.left_out.len(),
            held_out: held_out.collect(),
            left_out: &left_out,
        });
    }
    print(summary(command, &outcome, &used, &left_out))
}

/// The takes that can be read, the recordings that they are, and those that cannot be.
fn read<'a>(corpus: &'a Corpus, command: &Adapt) -> Result<(Vec<Take>, Vec<&'a Utterance>, Vec<LeftOut>)> {
    let texts = corpus.texts()?;
    let recordings = corpus.utterances.iter().map(|utterance| utterance.audio.clone()).collect();
    let mut ahead = Ahead::start(recordings)?;
    let (mut takes, mut used, mut left_out) = (Vec::new(), Vec::new(), Vec::new());
    while let Some((at, read)) = ahead.next() {
        let utterance = &corpus.utterances[at];
        match read {
            Ok(audio) => {
                let target = if command.labels { Target::Label } else { Target::Text };
                takes.push(Take { waveform: audio.samples, target: target(texts[at].to_owned()) });
                used.push(utterance);
            }
            Err(error @ Error::Interrupted) => return Err(error),
            Err(error) => {
                let error = about(utterance, error);
                if command.strict {
                    return Err(error);
                }
                tracing::warn!("left out: {error}");
                left_out.push(LeftOut::refused(utterance, &error));
            }
        }
    }
    Ok((takes, used, left_out))
}

fn summary(command: &Adapt, outcome: &Outcome, used: &[&Utterance], left_out: &[LeftOut]) -> String {
    let rates = |name: &str, HeldOut { right, takes, errors, loss }: HeldOut| {
        [name.to_owned(), format!("{right} of {takes}"), errors.to_string(), format!("{loss:.4}")]
    };
    let wrong = if command.labels { "wrong labels" } else { "wrong characters" };
    let head = ["held-out takes", "right", wrong, "loss"].map(str::to_owned);
    let mut text = table(&[head, rates("before", outcome.before), rates("after", outcome.after)]);
    text.push('\n');
    if !outcome.new_characters.is_empty() {
        let characters: Vec<String> = outcome.new_characters.iter().map(|c| format!("{c:?}")).collect();
        let _ = writeln!(text, "new characters: {}", characters.join(", "));
    }
    for one in outcome.held_out.iter().filter(|one| one.text != one.after).take(NAMED) {
        let name = &used[one.take].audio;
        let _ = writeln!(
            text,
            "{name}: {:?} is recognized as {:?}, before as {:?}",
            one.text, one.after, one.before
        );
    }
    if !left_out.is_empty() {
        let _ = writeln!(text, "left out: {} takes, the first {}", left_out.len(), left_out[0]);
    }
    let model = command.out.display();
    let _ = match outcome.better {
        true => writeln!(
            text,
            "{} values learned; the model of step {} is {model}",
            outcome.trainable, outcome.best_step
        ),
        false => writeln!(text, "nothing was recognized better than before: {model} has the old weights"),
    };
    text
}
