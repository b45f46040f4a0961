//! The command line. Results go to stdout, everything else to stderr; 0 done, 1 failed, 2 wrong usage.

mod adapt;
mod adapter;
mod align;
mod arguments;
mod check;
mod convert;
mod data;
mod decode;
mod decoding;
mod demo;
mod devices;
mod drawing;
mod embed;
mod encode;
mod evaluate;
mod import;
mod inference;
mod info;
mod judge;
mod lm;
mod output;
mod probe;
mod profile;
mod progress;
mod ranks;
mod sources;
mod train;
mod transcribe;
mod transcripts;
mod tune;
mod tune_device;

use std::io::Write;
use std::panic::AssertUnwindSafe;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::Parser;
use clap::error::{ContextKind, ErrorKind};

use crate::error::{Error, Remedy, Result};
use arguments::{Arguments, Command};
use output::{one_line, print, report};

/// Runs the command that the process was started with.
pub fn main() -> ExitCode {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map_or(String::new(), |at| format!(" at {}:{}", at.file(), at.line()));
        let what = panic.payload_as_str().unwrap_or("no message");
        // Not through the bars, whose lock the panic may hold.
        let _ =
            writeln!(std::io::stderr(), "error: internal error{place}: {}; please report it", one_line(what));
    }));
    quieten_wayland();
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return refuse(&error),
    };
    progress::start_logging();
    // The hook has said what a panic was about.
    let done = std::panic::catch_unwind(AssertUnwindSafe(|| dispatch(&arguments)));
    match done {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) if matches!(error.kind(), Error::Interrupted) && output::reader_is_gone() => {
            ExitCode::SUCCESS
        }
        Ok(Err(error)) => {
            tell(&error);
            ExitCode::from(code(&error))
        }
        Err(_) => ExitCode::FAILURE,
    }
}

/// Whether the error that ends the process is told, by it or by another rank.
static TOLD: AtomicBool = AtomicBool::new(false);

/// Writes the error that ends the process, once.
fn tell(error: &Error) {
    if TOLD.swap(true, Ordering::Relaxed) {
        return;
    }
    report(in_options(error));
}

/// The error with its remedy as options of the command.
fn in_options(error: &Error) -> String {
    match error {
        Error::DeviceLost(text) => format!("{text}, with --resume if a run was under way"),
        Error::Advised { error, remedy } => format!("{}; {}", in_options(error), option(*remedy)),
        _ => error.to_string(),
    }
}

fn option(remedy: Remedy) -> &'static str {
    match remedy {
        Remedy::OtherFolder => "give another --out",
        Remedy::ResumeOrOtherFolder => "go on with --resume, or give another --out",
        Remedy::NewRun => "begin a new run with another --out",
        Remedy::Resume => "go on with --resume",
        Remedy::OtherData => "give the run's own, or go on with these by --other-data",
        Remedy::MemoryLimit => "say how many GiB batches may fill by --memory-limit",
        Remedy::NameData => "name a manifest or folder with --data",
    }
}

/// The exit code of the process.
fn code(error: &Error) -> u8 {
    if matches!(error.kind(), Error::Usage(_)) { 2 } else { 1 }
}

/// Looking for GL adapters asks libwayland for a display, which complains on stderr where this is unset.
fn quieten_wayland() {
    if cfg!(target_os = "linux") && std::env::var_os("XDG_RUNTIME_DIR").is_none() {
        // SAFETY: the process has no other thread yet.
        unsafe { std::env::set_var("XDG_RUNTIME_DIR", std::env::temp_dir()) };
    }
}

fn dispatch(arguments: &Arguments) -> Result<()> {
    let global = &arguments.global;
    if !matches!(
        arguments.command,
        Command::Demo(_) | Command::Pretrain(_) | Command::Finetune(_) | Command::Profile(_)
    ) {
        global.check_settings()?;
    }
    match &arguments.command {
        Command::Demo(command) => demo::run(command, global),
        Command::Devices(command) => devices::run(command, global),
        Command::Check(command) => check::run(command, global),
        Command::TuneDevice(command) => tune_device::run(command, global),
        Command::Pretrain(command) => train::pretrain(command, global),
        Command::Finetune(command) => train::finetune(command, global),
        Command::Adapt(command) => adapt::run(command, global),
        Command::Evaluate(command) => evaluate::run(command, global),
        Command::Tune(command) => tune::run(command, global),
        Command::Transcribe(command) => transcribe::run(command, global),
        Command::Align(command) => align::run(command, global),
        Command::Encode(command) => encode::run(command, global),
        Command::Embed(command) => embed::run(command, global),
        Command::Probe(command) => probe::run(command, global),
        Command::Profile(command) => profile::run(command, global),
        Command::Info(command) => info::run(command, global),
        Command::Convert(command) => convert::run(command, global),
        Command::Import(command) => import::run(command, global),
        Command::Data(command) => data::run(command, global),
        Command::Decode(command) => decode::run(command, global),
        Command::Lm(command) => lm::run(command, global),
    }
}

/// Help goes to stdout; a wrong command line becomes one sentence.
fn refuse(error: &clap::Error) -> ExitCode {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => match print(error.render()) {
            Err(_) if !output::reader_is_gone() => ExitCode::FAILURE,
            _ => ExitCode::SUCCESS,
        },
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            output::note(error.render());
            ExitCode::from(2)
        }
        _ => {
            let text = error.render().to_string();
            let sentence = text.split("\n\n").next().unwrap_or_default();
            let sentence = one_line(sentence.trim_start().trim_start_matches("error:"));
            let similar =
                [ContextKind::SuggestedArg, ContextKind::SuggestedSubcommand, ContextKind::SuggestedValue];
            let similar = similar.iter().find_map(|&kind| error.get(kind));
            let remedy = similar.map_or("see polymix --help".to_owned(), |s| format!("did you mean {s}?"));
            report(format!("{sentence}; {remedy}"));
            ExitCode::from(2)
        }
    }
}
