//! Sources of recordings: one file a format, told apart by name and content.
//!
//! To add a format: a file with `read`, an arm in [`Format::of`] that recognizes it, an arm in [`load`].

mod archive;
mod common_voice;
mod csv;
mod folder;
mod found;
mod json;
mod kaldi;
mod lhotse;
mod lines;
mod nemo;
mod parquet;
mod pattern;
mod speechbrain;
mod webdataset;

use std::io::Cursor;
use std::path::{Path, PathBuf};

use web_time::Instant;

use crate::audio::{Recording, is_audio_name};
use crate::data::Utterance;
use crate::data::pack::INDEX;
use crate::error::{Error, Result};
use crate::files::{about, is_file, unreadable};

pub(super) use found::Found;
use lines::Lines;

const KINDS: &str = "give a manifest (*.jsonl, *.csv, *.tsv, *.tar, *.parquet, of NeMo, lhotse, SpeechBrain, \
                     Common Voice, WebDataset or Hugging Face), a Kaldi or LibriSpeech folder, a folder of shards or of audio";

/// The endings of files that list recordings or hold several, behind which `.gz` may stand.
const LISTS: [&str; 8] = ["jsonl", "json", "ndjson", "csv", "tsv", "tar", "tgz", "parquet"];

/// The name of a file in lower case, without the ending of gzip.
fn bare_name(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    name.strip_suffix(".gz").unwrap_or(&name).to_owned()
}

fn ending(name: &str) -> &str {
    name.rsplit_once('.').map_or("", |(_, ending)| ending)
}

/// Whether a file's name is that of a list of recordings, not of audio.
pub(crate) fn is_list_name(path: &Path) -> bool {
    LISTS.contains(&ending(&bare_name(path)))
}

/// The format of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Nemo,
    NemoTarred,
    LhotseRecordings,
    LhotseSupervisions,
    LhotseCuts,
    SpeechBrain,
    CommonVoice,
    Tar,
    Parquet,
    Shards,
    Kaldi,
    Folder,
    Audio,
}

/// A source: a path, and for tests and fuzzing what would be read there.
#[derive(Clone, Copy)]
struct Source<'a> {
    path: &'a Path,
    bytes: Option<&'a [u8]>,
}

impl<'a> Source<'a> {
    fn lines(self) -> Result<Lines<'a>> {
        match self.bytes {
            None => Lines::open(self.path),
            Some(bytes) => Lines::of_bytes(self.path, bytes),
        }
    }
}

impl Format {
    /// Tells what a source is by its name, and where that leaves several formats by its first line.
    fn of(source: Source<'_>) -> Result<Self> {
        let path = source.path;
        if source.bytes.is_none() {
            let Some(there) = about(path)? else {
                let error = std::io::ErrorKind::NotFound.into();
                // Who has lost a whole folder needs no list of formats.
                return Err(match folder_of(path).as_os_str().is_empty() || folder_of(path).exists() {
                    true => Error::file(path, format!("does not exist; {KINDS}")),
                    false => unreadable(path, &error),
                });
            };
            if there.is_dir() {
                let has = |name: &str| is_file(&path.join(name));
                return Ok(if has(INDEX)? {
                    Self::Shards
                } else if has(kaldi::RECORDINGS)? {
                    Self::Kaldi
                } else {
                    Self::Folder
                });
            }
        }
        let name = bare_name(path);
        match ending(&name) {
            "jsonl" | "json" | "ndjson" => Self::of_json(source),
            "csv" => Ok(Self::SpeechBrain),
            "tsv" => Ok(Self::CommonVoice),
            "tar" | "tgz" => Ok(Self::Tar),
            "parquet" => Ok(Self::Parquet),
            _ if name == kaldi::RECORDINGS => {
                Err(Error::file(path, "is a part of a Kaldi folder; give the folder"))
            }
            _ if source.bytes.is_none() && is_audio_name(path) => Ok(Self::Audio),
            _ => Err(Error::file(path, format!("is no source of data; {KINDS}"))),
        }
    }

    fn of_json(source: Source<'_>) -> Result<Self> {
        let mut lines = source.lines()?;
        // A line that is wrong is named when it is read.
        let mut unsaid = Found::keeping_errors();
        let Some((_, first)) = lines.next_filled(&mut unsaid)? else { return Ok(Self::Nemo) };
        let Ok(fields) = json::parse(source.path, 1, first) else { return Ok(Self::Nemo) };
        let has = |key: &str| fields.get(key).is_some_and(|value| !value.is_null());
        let is_cut =
            fields.get("type").and_then(|kind| kind.as_str()).is_some_and(|kind| kind.ends_with("Cut"));
        Ok(if has("audio_filepath") {
            if has("shard_id") { Self::NemoTarred } else { Self::Nemo }
        } else if has("sources") {
            Self::LhotseRecordings
        } else if has("recording_id") {
            Self::LhotseSupervisions
        } else if is_cut || (has("recording") && has("start")) {
            Self::LhotseCuts
        } else {
            Self::Nemo
        })
    }
}

/// Reads every source in turn.
///
/// # Errors
/// When a source cannot be read, holds nothing, or a line is wrong that `found` does not keep.
pub(super) fn load(sources: &[&Path], found: &mut Found) -> Result<()> {
    let paths: Vec<PathBuf> = pattern::expand(sources)?;
    let sources = paths.iter().map(|path| Source { path, bytes: None });
    load_all(&sources.collect::<Vec<_>>(), found)
}

/// Reads what a file named `path` holds.
///
/// # Errors
/// As for [`load`].
pub(super) fn load_bytes(path: &Path, bytes: &[u8], found: &mut Found) -> Result<()> {
    load_all(&[Source { path, bytes: Some(bytes) }], found)
}

fn load_all(sources: &[Source<'_>], found: &mut Found) -> Result<()> {
    let mut formats = Vec::with_capacity(sources.len());
    for &source in sources {
        let format = found.keep(Format::of(source))?;
        formats.extend(format.map(|format| (source, format)));
    }
    let of = |wanted: Format| formats.iter().filter(move |(_, f)| *f == wanted).map(|(source, _)| *source);
    let is_tarred = of(Format::NemoTarred).next().is_some();
    let tars = of(Format::Tar).map(|source| source.path).filter(|_| is_tarred);
    let mut shards = nemo::Shards::new(tars)?;
    let has_supervisions = of(Format::LhotseSupervisions).next().is_some();
    // Recordings that are given are read once, for all supervisions.
    let mut recordings = lhotse::Recordings::default();
    for source in of(Format::LhotseRecordings).filter(|_| has_supervisions) {
        let read = recordings.read(&mut source.lines()?, found);
        found.keep(read)?;
    }
    let given = of(Format::LhotseRecordings).next().map(|_| &recordings);
    for &(source, format) in &formats {
        let (path, before, begun) = (source.path, found.count(), Instant::now());
        let read = match format {
            Format::Nemo | Format::NemoTarred => nemo::read(&mut source.lines()?, &mut shards, found),
            // They are read with what belongs to them.
            Format::Tar if is_tarred => continue,
            Format::LhotseRecordings if has_supervisions => continue,
            Format::LhotseRecordings => lhotse_recordings(source, found),
            Format::LhotseSupervisions => lhotse_supervisions(source, given, found),
            Format::LhotseCuts => lhotse::cuts(&mut source.lines()?, found),
            Format::SpeechBrain => speechbrain::read(&mut source.lines()?, found),
            Format::CommonVoice => {
                let durations = beside(path, common_voice::DURATIONS)?;
                common_voice::read(&mut source.lines()?, durations, found)
            }
            Format::Tar => match source.bytes {
                None => webdataset::read(path, &mut archive::open(path)?, found),
                Some(bytes) => webdataset::read(path, &mut Cursor::new(bytes), found),
            },
            Format::Parquet => parquet::read(path, source.bytes, found),
            Format::Shards => {
                let mut own = nemo::Shards::new([])?;
                nemo::read(&mut Lines::open(&path.join(INDEX))?, &mut own, found)
            }
            Format::Kaldi => {
                let open = |path: &Path| is_file(path)?.then(|| Lines::open(path)).transpose();
                kaldi::read(path, open, found)
            }
            Format::Folder => folder::read(path, found),
            Format::Audio => found.add(Ok(Utterance::new(Recording::file(path), path.display().to_string()))),
        };
        found.keep(read)?;
        tracing::debug!(
            "read {} as {format:?}: {} recordings or faults in {:.1} ms",
            path.display(),
            found.count() - before,
            begun.elapsed().as_secs_f64() * 1e3
        );
        if found.count() == before {
            let others = if format == Format::Folder { folder::manifests(path) } else { String::new() };
            let message = format!("holds no recording{others}; {KINDS}");
            found.keep::<()>(Err(Error::file(path, message)))?;
        }
    }
    shards.check_all_used()
}

fn lhotse_recordings(source: Source<'_>, found: &mut Found) -> Result<()> {
    let mut recordings = lhotse::Recordings::default();
    recordings.read(&mut source.lines()?, found)?;
    match lhotse::partner(source.path)? {
        Some(supervisions) => recordings.supervisions(&mut Lines::open(&supervisions)?, found),
        None => recordings.unlabelled(found),
    }
}

fn lhotse_supervisions(
    source: Source<'_>,
    given: Option<&lhotse::Recordings>,
    found: &mut Found,
) -> Result<()> {
    if let Some(given) = given {
        return given.supervisions(&mut source.lines()?, found);
    }
    let partner = lhotse::partner(source.path)?.ok_or_else(|| lhotse::without_recordings(source.path))?;
    let mut recordings = lhotse::Recordings::default();
    recordings.read(&mut Lines::open(&partner)?, found)?;
    recordings.supervisions(&mut source.lines()?, found)
}

/// The lines of a file beside `path`, where it is there.
fn beside(path: &Path, name: &str) -> Result<Option<Lines<'static>>> {
    let path = path.with_file_name(name);
    is_file(&path)?.then(|| Lines::open(&path)).transpose()
}

fn folder_of(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new(""))
}

/// A path of a manifest: relative to its folder.
fn resolve(manifest: &Path, path: &str) -> PathBuf {
    folder_of(manifest).join(path)
}

/// A path of a manifest whose toolkit writes them relative to where it is run: relative to the manifest's
/// folder, or else to the working directory.
fn resolve_from_here(manifest: &Path, path: &str) -> PathBuf {
    let (beside, here) = (resolve(manifest, path), Path::new(path));
    if here.is_relative() && !beside.exists() && here.exists() { here.to_path_buf() } else { beside }
}

#[cfg(test)]
mod tests;
