//! `polymix pretrain` and `polymix finetune`

use super::arguments::{Finetune, Global, Pretrain, Training};
use super::output::{percent, print, table};
use super::ranks;
use crate::error::Result;
use crate::recipe::{DataConfig, Recipe};
use crate::train::{self, Measure, Outcome, Request};

/// Pre-trains.
pub(super) fn pretrain(command: &Pretrain, global: &Global) -> Result<()> {
    stop_on_interrupt();
    let request = request(&command.training, global, |recipe| &mut recipe.pretrain.data)?;
    let request = Request { valid: command.valid.clone(), ..request };
    run(request, &command.training, global, train::pretrain_among)
}

/// Fine-tunes.
pub(super) fn finetune(command: &Finetune, global: &Global) -> Result<()> {
    stop_on_interrupt();
    let request = request(&command.training, global, |recipe| &mut recipe.finetune.data)?;
    let request = Request { valid: command.valid.clone(), init: command.init.clone(), ..request };
    run(request, &command.training, global, train::finetune_among)
}

fn request(
    training: &Training,
    global: &Global,
    data: fn(&mut Recipe) -> &mut DataConfig,
) -> Result<Request> {
    let mut recipe = Recipe::load(&training.recipe, &global.overrides())?;
    if training.fit {
        data(&mut recipe).fit();
        recipe.validate()?;
    }
    Ok(Request {
        recipe,
        command: command_line(),
        data: training.data.clone(),
        valid: Vec::new(),
        out: training.out.clone(),
        init: None,
        resume: training.resume,
        other_data: training.other_data,
        channel: training.channel,
        limit_steps: global.limit_steps,
        strict: training.strict,
        memory_limit: training.memory_limit.map(|gib| (gib * f64::from(1 << 30)) as u64),
    })
}

fn run(request: Request, training: &Training, global: &Global, phase: ranks::Phase) -> Result<()> {
    let (several, tunes) = (&training.several, !training.no_tune && !training.resume);
    match ranks::train(request, tunes, several, global, phase)? {
        Some(outcome) => show(&outcome),
        None => Ok(()),
    }
}

fn show(outcome: &Outcome) -> Result<()> {
    let mut rows = vec![
        ["steps".to_owned(), outcome.steps.to_string()],
        ["loss".to_owned(), format!("{:.4} → {:.4}", outcome.loss_first, outcome.loss_last)],
    ];
    let of = outcome.best_of.as_ref().map_or(String::new(), |of| format!("  {}", of.of()));
    match outcome.score {
        Some((Measure::Loss, _)) | None if of.is_empty() => {}
        Some((Measure::Loss, _)) | None => rows.push(["validation".to_owned(), of.trim_start().to_owned()]),
        Some((measure, score)) => {
            let (name, value) = match measure {
                Measure::Accuracy => ("validation accuracy", 1.0 - score),
                Measure::EqualErrorRate => ("validation EER", score),
                Measure::Loss | Measure::WordErrorRate => ("validation WER", score),
            };
            rows.push([name.to_owned(), format!("{}{of}", percent(value))]);
        }
    }
    if !outcome.left_out.is_empty() {
        rows.push(["left out of training".to_owned(), outcome.left_out.to_string()]);
    }
    if outcome.differing > 0 {
        rows.push(["not as long as listed".to_owned(), outcome.differing.to_string()]);
    }
    rows.push(["model".to_owned(), outcome.best.display().to_string()]);
    if !outcome.finished {
        rows.push(["unfinished".to_owned(), "go on with --resume".to_owned()]);
    }
    print(table(&rows))
}

/// Ctrl-C, and the signals with which systems end or warn a process, ask the run to save and stop; a second one ends
/// the process.
pub(super) fn stop_on_interrupt() {
    #[cfg(unix)]
    use signal_hook::consts::{SIGHUP, SIGUSR1};
    use signal_hook::consts::{SIGINT, SIGTERM};
    use signal_hook::flag;

    #[cfg(unix)]
    let signals = [SIGINT, SIGTERM, SIGHUP, SIGUSR1];
    #[cfg(not(unix))]
    let signals = [SIGINT, SIGTERM];
    for signal in signals {
        let stop = train::stop_flag();
        let registered = flag::register_conditional_shutdown(signal, 130, stop.clone())
            .and_then(|_| flag::register(signal, stop));
        if let Err(error) = registered {
            tracing::warn!("signal {signal} will end the process without saving: {error}");
        }
    }
}

/// The command line as it was typed, quoted where a shell needs it.
pub(super) fn command_line() -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./=,:+@%".contains(c);
    let quote = |argument: String| match !argument.is_empty() && argument.chars().all(plain) {
        true => argument,
        false => format!("'{}'", argument.replace('\'', r"'\''")),
    };
    let arguments =
        std::env::args_os().skip(1).map(|argument| quote(argument.to_string_lossy().into_owned()));
    std::iter::once("polymix".to_owned()).chain(arguments).collect::<Vec<_>>().join(" ")
}
