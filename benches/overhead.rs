//! CPU overhead: recording and submitting a plan again, and a process from its start to its first step.
//!
//! `cargo bench --bench overhead`; `POLYMIX_DEVICE` names the adapter.

mod harness;

use std::process::{Command, ExitCode};

use harness::step::Training;
use harness::{Case, Work, median, table};
use polymix::graph::Graph;
use polymix::recipe::Recipe;
use polymix::shape::Spec;
use polymix::train::BatchShape;
use polymix::{Error, Result};

/// Dispatches of the plan that is submitted again and again.
const DISPATCHES: usize = 400;
/// Processes that are started.
const STARTS: usize = 5;
/// Makes this program take one step and print its phases.
const FIRST_STEP: &str = "--first-step";

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip_while(|argument| argument != FIRST_STEP).skip(1);
    let result = match arguments.next() {
        Some(start) => first_step(&start),
        None => submission().and_then(|()| cold_starts()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("overhead: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Microseconds a dispatch to record and submit a plan that has run before.
fn submission() -> Result<()> {
    let gpu = harness::device()?;
    let graph = Graph::new();
    let x = graph.stored("x", Spec::f32([64]));
    let mut y = x.clone();
    for _ in 0..DISPATCHES {
        y = y.add(&x)?;
    }
    let mut case = Case::new(&gpu, &Work::new("chain of additions", "", &[y]))?;
    let mut times = Vec::new();
    for _ in 0..50 {
        let (milliseconds, dispatches) = case.submission()?;
        times.push(1e3 * milliseconds / dispatches as f64);
    }
    println!("recording and submitting: {:.2} µs a dispatch, median of {}\n", median(times), 50);
    Ok(())
}

/// Milliseconds from the start of a process.
fn cold_starts() -> Result<()> {
    let program = std::env::current_exe()
        .map_err(|error| Error::invalid(format!("this program has no path: {error}")))?;
    let names = ["device open", "planned and compiled", "first step done"];
    let mut times = vec![Vec::new(); names.len()];
    for _ in 0..STARTS {
        let start = since_epoch().to_string();
        let output = Command::new(&program).args([FIRST_STEP, &start]).output();
        let output = output.map_err(|error| Error::file(&program, error.to_string()))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let phases: Vec<f64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
        if !output.status.success() || phases.len() != names.len() {
            return Err(Error::invalid(format!("a process that was to take a step said: {text}")));
        }
        times.iter_mut().zip(phases).for_each(|(times, phase)| times.push(phase));
    }
    let rows: Vec<Vec<String>> = names
        .iter()
        .zip(times)
        .map(|(name, times)| {
            vec![(*name).to_owned(), "recipes/demo.toml, 8 × 4 s".to_owned(), format!("{:.0}", median(times))]
        })
        .collect();
    println!("{}", table(&["from the start of the process until", "model and batch", "ms"], &rows));
    Ok(())
}

/// Seconds since 1970.
fn since_epoch() -> f64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64())
}

/// Takes the first step of a small recipe; prints milliseconds since `start`.
fn first_step(start: &str) -> Result<()> {
    let start: f64 = start.parse().map_err(|_| Error::invalid("the start is no time"))?;
    let milliseconds = || 1e3 * (since_epoch() - start);
    let recipe = Recipe::load(concat!(env!("CARGO_MANIFEST_DIR"), "/recipes/demo.toml"), &[] as &[&str])?;
    let gpu = harness::device()?;
    let open = milliseconds();
    let mut training = Training::new(&gpu, recipe.model, BatchShape { utterances: 8, frames: 400 })?;
    let ready = milliseconds();
    training.step()?;
    println!("{open} {ready} {}", milliseconds());
    Ok(())
}
