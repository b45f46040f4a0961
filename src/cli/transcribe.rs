//! `polymix transcribe`

use std::path::{Path, PathBuf};

use pollster::block_on;
use serde::Serialize;
use web_time::Instant;

use super::adapter::Device;
use super::arguments::{Global, Transcribe};
use super::evaluate::recognizer;
use super::output::{note, print, print_json, report};
use super::progress::Reporter;
use crate::audio;
use crate::error::{Error, Result};
use crate::models::{Recognizer, SavedModel, StreamRecognizer, within};
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
    /// With `--stream`, what was heard by when.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    partials: Vec<Partial>,
}

/// The text after a chunk that changed it.
#[derive(Debug, Serialize)]
struct Partial {
    audio_seconds: f64,
    text: String,
}

enum Ear {
    Whole(Box<Recognizer>),
    Stream(Box<StreamRecognizer>),
}

/// Transcribes the files in turn; a bad one is named, and fails the command after the others are done.
pub(super) fn run(command: &Transcribe, global: &Global) -> Result<()> {
    global.note_without_recipe("transcribe");
    let model = SavedModel::load(&command.model)?;
    let device = Device::open(global)?;
    let mut ear = match command.stream {
        false => Ear::Whole(Box::new(recognizer(&device, model, &command.model)?)),
        true => {
            let chunk = command.chunk_ms.map(|milliseconds| milliseconds / 40);
            let stream = block_on(StreamRecognizer::new(device.gpu.clone(), model, chunk));
            Ear::Stream(Box::new(within(&command.model, stream)?))
        }
    };
    let mut reporter = Reporter::new(global.quiet || command.audio.len() == 1);
    reporter.begin("transcribing", command.audio.len() as u64);
    let mut transcripts = Vec::new();
    let mut failure: Option<Error> = None;
    for (done, path) in (1..).zip(&command.audio) {
        match transcribe(&mut ear, path, global.quiet || command.json) {
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

fn transcribe(ear: &mut Ear, path: &Path, quiet: bool) -> Result<Transcript> {
    let begun = Instant::now();
    let audio = audio::read(path)?;
    let mut partials = Vec::new();
    let heard = match ear {
        Ear::Whole(recognizer) => block_on(recognizer.recognize(&[&audio.samples]))?.swap_remove(0),
        Ear::Stream(recognizer) => {
            if audio.samples.is_empty() {
                return Err(Error::file(path, "holds no samples; leave it out"));
            }
            let rate = audio::SAMPLE_RATE as usize;
            let chunk = (recognizer.chunk_milliseconds() * 1e-3 * rate as f64) as usize;
            let mut samples = 0;
            for piece in audio.samples.chunks(chunk.max(1)) {
                samples += piece.len();
                if !block_on(recognizer.push(piece))? {
                    continue;
                }
                let text = recognizer.heard()?.text;
                if partials.last().map_or("", |partial: &Partial| partial.text.as_str()) != text {
                    let audio_seconds = samples as f64 / rate as f64;
                    if !quiet {
                        note(format!("{audio_seconds:7.2} s  {text}"));
                    }
                    partials.push(Partial { audio_seconds, text });
                }
            }
            block_on(recognizer.finish())?
        }
    };
    Ok(Transcript {
        audio_filepath: path.to_path_buf(),
        text: heard.text,
        words: heard.words,
        audio_seconds: audio.seconds(),
        seconds: begun.elapsed().as_secs_f64(),
        partials,
    })
}
