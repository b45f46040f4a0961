//! What is recorded: NeMo's JSON lines, SpeechBrain's CSV, LibriSpeech trees, folders of audio.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::csv;
use crate::audio::{Recording, is_audio_name};
use crate::error::{Error, Result};

const TRANSCRIPTS: &str = ".trans.txt";
const EXTENSIONS: [&str; 4] = ["flac", "wav", "mp3", "ogg"];

/// One recording.
#[derive(Debug, Clone, PartialEq)]
pub struct Utterance {
    /// The audio.
    pub audio: Recording,
    /// Seconds, where the manifest tells.
    pub duration: Option<f64>,
    /// What is said, where the manifest tells.
    pub text: Option<String>,
    /// Who speaks, where the manifest tells.
    pub speaker: Option<String>,
    /// Where this was read: `manifest:line`, or the folder.
    pub origin: String,
}

/// A list of recordings, in an order that depends on the sources alone.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Corpus {
    /// The recordings.
    pub utterances: Vec<Utterance>,
}

impl Corpus {
    /// Reads every source in turn: `*.jsonl` and `*.csv` manifests, LibriSpeech trees, folders of audio
    /// (searched in depth, sorted by name), single audio files.
    ///
    /// # Errors
    /// When a source cannot be read, holds nothing, or lacks a field; the message names file and line.
    pub fn load<P: AsRef<Path>>(sources: &[P]) -> Result<Self> {
        let mut utterances = Vec::new();
        for source in sources.iter().map(AsRef::as_ref) {
            let found = load_source(source)?;
            if found.is_empty() {
                return Err(Error::file(
                    source,
                    "holds no recording; give a manifest or a folder with audio",
                ));
            }
            utterances.extend(found);
        }
        if utterances.is_empty() {
            return Err(Error::usage("there is no data; name a manifest or folder with --data"));
        }
        Ok(Self { utterances })
    }

    /// The transcripts, in order.
    ///
    /// # Errors
    /// When a recording has none; the message names the manifest's line.
    pub fn texts(&self) -> Result<Vec<&str>> {
        let missing = |utterance: &Utterance| {
            let message = "has no field `text`; labelled data needs a transcript of every recording";
            Error::file(&utterance.origin, message)
        };
        self.utterances
            .iter()
            .map(|utterance| utterance.text.as_deref().ok_or_else(|| missing(utterance)))
            .collect()
    }
}

fn load_source(source: &Path) -> Result<Vec<Utterance>> {
    if source.is_dir() {
        return load_folder(source);
    }
    let extension = source.extension().and_then(|e| e.to_str()).map(str::to_ascii_lowercase);
    match extension.as_deref() {
        Some("jsonl" | "json") => json_lines(source, &read_text(source)?),
        Some("csv") => speechbrain_csv(source, &read_text(source)?),
        _ if is_audio_name(source) && source.is_file() => Ok(vec![unlabelled(source.to_path_buf(), source)]),
        _ if !source.exists() => {
            Err(Error::file(source, "does not exist; give a manifest or a folder with audio"))
        }
        _ => Err(Error::file(
            source,
            "is no source of data; give *.jsonl, *.csv, a LibriSpeech tree or a folder of audio",
        )),
    }
}

fn read_text(path: &Path) -> Result<String> {
    let bytes = std::fs::read(path).map_err(|error| Error::file(path, format!("cannot be read: {error}")))?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let line = error.as_bytes()[..valid].iter().filter(|&&b| b == b'\n').count() + 1;
        Error::line(path, line, "is not UTF-8; save the file as UTF-8")
    })?;
    Ok(match text.strip_prefix('\u{feff}') {
        Some(rest) => rest.to_string(),
        None => text,
    })
}

fn folder_of(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new(""))
}

fn unlabelled(path: PathBuf, origin: &Path) -> Utterance {
    Utterance {
        audio: Recording::file(path),
        duration: None,
        text: None,
        speaker: None,
        origin: origin.display().to_string(),
    }
}

fn check_duration(path: &Path, line: usize, seconds: f64) -> Result<f64> {
    if seconds > 0.0 && seconds.is_finite() {
        return Ok(seconds);
    }
    Err(Error::line(path, line, format!("field `duration` is {seconds}; give a positive number of seconds")))
}

/// `{"audio_filepath": …, "duration": …, "text": …, "speaker": …}` a line; only the first is required.
fn json_lines(manifest: &Path, text: &str) -> Result<Vec<Utterance>> {
    let mut utterances = Vec::new();
    for (line, json) in text.lines().enumerate().map(|(i, json)| (i + 1, json)) {
        if json.trim().is_empty() {
            continue;
        }
        let fields: Map<String, Value> = serde_json::from_str(json).map_err(|error| {
            Error::line(manifest, line, format!("is not a JSON object ({error}); give one a line"))
        })?;
        let wrong =
            |key: &str, kind: &str| Error::line(manifest, line, format!("field `{key}` must be {kind}"));
        let string = |key: &str| match fields.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(value)) => Ok(Some(value.clone())),
            Some(Value::Number(value)) if key == "speaker" => Ok(Some(value.to_string())),
            Some(_) => Err(wrong(key, "a string")),
        };
        let number = |key: &str| match fields.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => value.as_f64().map(Some).ok_or_else(|| wrong(key, "a number")),
        };
        let path = string("audio_filepath")?.filter(|path| !path.is_empty());
        let path = path.ok_or_else(|| {
            Error::line(manifest, line, "has no field `audio_filepath`; add the audio file's path")
        })?;
        if number("offset")?.is_some_and(|offset| offset != 0.0) {
            return Err(Error::line(
                manifest,
                line,
                "field `offset` is not supported; cut the audio into files",
            ));
        }
        utterances.push(Utterance {
            audio: Recording::file(folder_of(manifest).join(path)),
            duration: number("duration")?
                .map(|seconds| check_duration(manifest, line, seconds))
                .transpose()?,
            text: string("text")?,
            speaker: string("speaker")?,
            origin: format!("{}:{line}", manifest.display()),
        });
    }
    Ok(utterances)
}

/// A header `ID,duration,wav,spk_id,wrd` in any order; only `wav` is required.
fn speechbrain_csv(manifest: &Path, text: &str) -> Result<Vec<Utterance>> {
    let records = csv::records(text).map_err(|line| {
        Error::line(manifest, line, "opens a quote that never closes; double the quotes within a field")
    })?;
    let Some((header, rows)) = records.split_first() else { return Ok(Vec::new()) };
    let column = |name: &str| header.fields.iter().position(|field| field.trim() == name);
    let wav = column("wav").ok_or_else(|| {
        Error::line(manifest, header.line, "has no column `wav`; the header is ID,duration,wav,spk_id,wrd")
    })?;
    let (duration, speaker, words) = (column("duration"), column("spk_id"), column("wrd"));
    let utterance = |row: &csv::Record| {
        let (line, count) = (row.line, row.fields.len());
        if count > header.fields.len() {
            let columns = header.fields.len();
            let message =
                format!("has {count} fields for {columns} columns; put fields with commas in quotes");
            return Err(Error::line(manifest, line, message));
        }
        let field = |column: Option<usize>| match column {
            None => Ok(None),
            Some(at) => row.fields.get(at).map(|field| Some(field.trim())).ok_or_else(|| {
                Error::line(
                    manifest,
                    line,
                    format!("has no field `{}`; fill in every column", header.fields[at].trim()),
                )
            }),
        };
        let path = field(Some(wav))?.map(without_placeholder).filter(|path| !path.is_empty());
        let path = path.ok_or_else(|| {
            Error::line(manifest, line, "has an empty field `wav`; add the audio file's path")
        })?;
        let seconds = match field(duration)?.filter(|field| !field.is_empty()) {
            None => None,
            Some(field) => {
                let message = || format!("field `duration` is {field:?}; give a positive number of seconds");
                let seconds = field.parse::<f64>().map_err(|_| Error::line(manifest, line, message()))?;
                Some(check_duration(manifest, line, seconds)?)
            }
        };
        Ok(Utterance {
            audio: Recording::file(folder_of(manifest).join(path)),
            duration: seconds,
            text: field(words)?.map(str::to_string),
            speaker: field(speaker)?.filter(|name| !name.is_empty()).map(str::to_string),
            origin: format!("{}:{line}", manifest.display()),
        })
    };
    rows.iter().map(utterance).collect()
}

/// The path without a leading `$data_root/` or `{data_root}/`, which stands for the manifest's folder.
fn without_placeholder(path: &str) -> &str {
    let Some((first, rest)) = path.split_once('/') else { return path };
    let placeholder = first.starts_with('$') || (first.starts_with('{') && first.ends_with('}'));
    if placeholder { rest.trim_start_matches('/') } else { path }
}

/// A LibriSpeech tree if there are transcripts in it, else every audio file.
fn load_folder(folder: &Path) -> Result<Vec<Utterance>> {
    let mut files = BTreeSet::new();
    list_files(folder, &mut BTreeSet::new(), &mut files)?;
    let is_transcript =
        |path: &&PathBuf| path.file_name().and_then(|n| n.to_str()).is_some_and(|n| n.ends_with(TRANSCRIPTS));
    let transcripts: Vec<&PathBuf> = files.iter().filter(is_transcript).collect();
    if transcripts.is_empty() {
        return Ok(files
            .iter()
            .filter(|path| is_audio_name(path))
            .map(|p| unlabelled(p.clone(), folder))
            .collect());
    }
    let mut utterances = Vec::new();
    for path in transcripts {
        utterances.extend(librispeech(path, &read_text(path)?, |audio| files.contains(audio))?);
    }
    Ok(utterances)
}

fn list_files(folder: &Path, visited: &mut BTreeSet<PathBuf>, files: &mut BTreeSet<PathBuf>) -> Result<()> {
    let unreadable = |error: std::io::Error| Error::file(folder, format!("cannot be read: {error}"));
    // Links may make a folder its own descendant.
    if !visited.insert(folder.canonicalize().map_err(unreadable)?) {
        return Ok(());
    }
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.is_dir() {
            list_files(&path, visited, files)?;
        } else {
            files.insert(path);
        }
    }
    Ok(())
}

/// `ID TEXT` a line, with the audio `ID.flac` beside; the speaker is the ID up to its first `-`.
fn librispeech(transcripts: &Path, text: &str, exists: impl Fn(&Path) -> bool) -> Result<Vec<Utterance>> {
    let mut utterances = Vec::new();
    for (line, content) in text.lines().enumerate().map(|(i, content)| (i + 1, content.trim())) {
        if content.is_empty() {
            continue;
        }
        let (id, words) = content.split_once(char::is_whitespace).ok_or_else(|| {
            Error::line(transcripts, line, "has no text after the utterance's ID; add its words")
        })?;
        let path = EXTENSIONS
            .iter()
            .map(|extension| folder_of(transcripts).join(format!("{id}.{extension}")))
            .find(|path| exists(path))
            .ok_or_else(|| {
                Error::line(transcripts, line, format!("names {id}, but there is no {id}.flac beside it"))
            })?;
        utterances.push(Utterance {
            audio: Recording::file(path),
            duration: None,
            text: Some(words.trim().to_string()),
            speaker: id.split_once('-').map(|(speaker, _)| speaker.to_string()),
            origin: format!("{}:{line}", transcripts.display()),
        });
    }
    Ok(utterances)
}

#[cfg(test)]
#[path = "manifest_tests.rs"]
mod tests;
