//! Output of transcripts: to stdout one after another, or to a file each.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::arguments::Format;
use super::output::{print, to_json, to_json_line};
use crate::error::{Error, Result};
use crate::files::{make_folder, write_whole};
use crate::models::Recognized;
use crate::text::{Word, cues, srt, vtt};

/// The transcript of a recording: an element of what `--json` prints.
#[derive(Debug, Serialize)]
pub(super) struct Transcript {
    pub audio_filepath: String,
    pub text: String,
    pub words: Vec<Word>,
    pub audio_seconds: f64,
    pub seconds: f64,
    /// With `--n-best`, the best texts, the best one first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub beams: Option<Vec<Beam>>,
    /// With `--endpoint`, one after another.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sentences: Option<Vec<Sentence>>,
    /// With `--stream`, the text so far by time.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub partials: Vec<Partial>,
}

/// The text between two pauses.
#[derive(Debug, Serialize)]
pub(super) struct Sentence {
    /// When its first word begins, in seconds.
    pub start: f64,
    /// When its last word ends, in seconds.
    pub end: f64,
    pub text: String,
}

impl Sentence {
    /// `None` where no word is recognized.
    pub fn of(recognized: &Recognized) -> Option<Self> {
        let (first, last) = (recognized.words.first()?, recognized.words.last()?);
        Some(Self { start: first.start, end: last.end, text: recognized.text.clone() })
    }

    fn line(&self) -> String {
        format!("{:.2}\t{:.2}\t{}", self.start, self.end, self.text)
    }
}

/// The text after a chunk that changed it, with `--endpoint` of the sentence.
#[derive(Debug, Serialize)]
pub(super) struct Partial {
    pub audio_seconds: f64,
    pub text: String,
    /// The words of it that stay, whatever follows.
    pub settled: String,
}

/// One of several texts.
#[derive(Debug, Serialize)]
pub(super) struct Beam {
    pub text: String,
    pub ctc_score: f64,
    pub score: f64,
    pub words: Vec<Word>,
}

/// The texts of a recording, the best one first.
pub(super) fn beams(recognized: &Recognized) -> Vec<Beam> {
    let all = std::iter::once(recognized).chain(&recognized.alternatives);
    let beam = |one: &Recognized| Beam {
        text: one.text.clone(),
        ctc_score: one.ctc_score,
        score: one.score,
        words: one.words.clone(),
    };
    all.map(beam).collect()
}

/// Takes transcripts as they come. Whatever ends the command, what was written is whole: lines, or a document.
pub(super) struct Sink<'a> {
    format: Format,
    folder: Option<&'a Path>,
    /// Elements of the document on stdout, while it is open.
    open: Option<usize>,
}

impl<'a> Sink<'a> {
    /// Writes in `format` to stdout, or to files in `folder`, which is made where it is missing.
    ///
    /// # Errors
    /// When the folder cannot be made, or subtitles of more than one of `recordings` would go to stdout.
    pub fn new(format: Format, folder: Option<&'a Path>, recordings: usize) -> Result<Self> {
        match folder {
            Some(folder) => make_folder(folder)?,
            None if recordings > 1 && matches!(format, Format::Srt | Format::Vtt) => {
                return Err(Error::usage(format!(
                    "subtitles are of one recording, and here are {recordings}; give --out DIR for a file each"
                )));
            }
            None => {}
        }
        Ok(Self { format, folder, open: (folder.is_none() && format == Format::Json).then_some(0) })
    }

    /// Prints a sentence of the recording `name` as soon as it is over, where lines are printed.
    ///
    /// # Errors
    /// When stdout cannot be written.
    pub fn sentence(&self, name: &str, recognized: &Recognized) -> Result<()> {
        match (self.folder, self.format, Sentence::of(recognized)) {
            (None, Format::Txt, Some(sentence)) => print(format!("{name}\t{}", sentence.line())),
            _ => Ok(()),
        }
    }

    /// Writes the next transcript, but for lines that [`Sink::sentence`] has printed; files have the name `stem`.
    ///
    /// # Errors
    /// When stdout or the file cannot be written.
    pub fn write(&mut self, stem: &str, transcript: &Transcript) -> Result<()> {
        if let Some(folder) = self.folder {
            let (ending, text) = self.file(transcript)?;
            let path: PathBuf = folder.join(format!("{stem}.{ending}"));
            return write_whole(&path, text.as_bytes());
        }
        match &mut self.open {
            // A line each: what a killed process leaves is as many whole results as there are lines.
            Some(written) => {
                let begin = if *written == 0 { '[' } else { ',' };
                *written += 1;
                print(format!("{begin}{}", to_json_line(transcript)?))
            }
            None if self.format == Format::Txt && transcript.sentences.is_some() => Ok(()),
            None if self.format == Format::Txt => {
                let name = &transcript.audio_filepath;
                let Some(beams) = &transcript.beams else {
                    return print(format!("{name}\t{}", transcript.text));
                };
                let line = |beam: &Beam| format!("{name}\t{:.3}\t{}", beam.score, beam.text);
                print(beams.iter().map(line).collect::<Vec<_>>().join("\n"))
            }
            None => print(self.file(transcript)?.1),
        }
    }

    /// The ending and text of a file of one transcript.
    fn file(&self, transcript: &Transcript) -> Result<(&'static str, String)> {
        Ok(match self.format {
            Format::Txt => match &transcript.beams {
                None if let Some(sentences) = &transcript.sentences => {
                    ("txt", sentences.iter().map(|sentence| sentence.line() + "\n").collect())
                }
                None => ("txt", format!("{}\n", transcript.text)),
                Some(beams) => {
                    let line = |beam: &Beam| format!("{:.3}\t{}\n", beam.score, beam.text);
                    ("txt", beams.iter().map(line).collect())
                }
            },
            Format::Json => ("json", to_json(&[transcript])? + "\n"),
            Format::Srt => ("srt", srt(&cues(&transcript.words))),
            Format::Vtt => ("vtt", vtt(&cues(&transcript.words))),
        })
    }

    /// Ends the document.
    ///
    /// # Errors
    /// When stdout cannot be written.
    pub fn close(&mut self) -> Result<()> {
        match self.open.take() {
            Some(0) => print("[]"),
            Some(_) => print("]"),
            None => Ok(()),
        }
    }
}

impl Drop for Sink<'_> {
    /// The command fails; what it wrote is a document all the same.
    fn drop(&mut self) {
        let _ = self.close();
    }
}
