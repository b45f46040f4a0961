//! `polymix transcribe`

use std::path::{Path, PathBuf};

use pollster::block_on;
use serde::Serialize;
use web_time::Instant;

use super::adapter::Device;
use super::arguments::{Global, Transcribe};
use super::evaluate::recognizer;
use super::output::{print, print_json, report};
use super::progress::Reporter;
use crate::audio;
use crate::error::{Error, Result};
use crate::models::{Recognizer, SavedModel};
use crate::text::Word;
use crate::train::Progress;

/// One file of what `--json` prints.
#[derive(Debug, Serialize)]
struct Transcript {
    audio_filepath: PathBuf,
    text: String,
    words: Vec<Word>,
    audio_seconds: f64,
    seconds: f64,
}

/// Transcribes the files in turn; a bad one is named, and fails the command after the others are done.
pub(super) fn run(command: &Transcribe, global: &Global) -> Result<()> {
    global.note_without_recipe("transcribe");
    let model = SavedModel::load(&command.model)?;
    let device = Device::open(global)?;
    let mut recognizer = recognizer(&device, model, &command.model)?;
    let mut reporter = Reporter::new(global.quiet || command.audio.len() == 1);
    reporter.begin("transcribing", command.audio.len() as u64);
    let mut transcripts = Vec::new();
    let mut failure: Option<Error> = None;
    for (done, path) in (1..).zip(&command.audio) {
        match transcribe(&mut recognizer, path) {
            Ok(transcript) if command.json => transcripts.push(transcript),
            Ok(transcript) => print(format!("{}\t{}", path.display(), transcript.text))?,
            Err(error @ (Error::File { .. } | Error::Invalid(_))) => {
                if let Some(earlier) = failure.replace(error) {
                    report(earlier);
                }
            }
            Err(error) => return Err(error),
        }
        reporter.advance(done);
    }
    reporter.end();
    if command.json {
        print_json(&transcripts)?;
    }
    failure.map_or(Ok(()), Err)
}

fn transcribe(recognizer: &mut Recognizer, path: &Path) -> Result<Transcript> {
    let begun = Instant::now();
    let audio = audio::read(path)?;
    let heard = block_on(recognizer.recognize(&[&audio.samples]))?;
    let (text, words) = heard.into_iter().next().map(|one| (one.text, one.words)).unwrap_or_default();
    Ok(Transcript {
        audio_filepath: path.to_path_buf(),
        text,
        words,
        audio_seconds: audio.seconds(),
        seconds: begun.elapsed().as_secs_f64(),
    })
}
