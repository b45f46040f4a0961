//! lhotse: recordings with supervisions, or cuts; an object a line.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::json::{self, Object};
use super::lines::Lines;
use super::{Found, resolve_from_here};
use crate::audio::{Channel, Place, Recording, Span};
use crate::data::Utterance;
use crate::error::{Error, Result};
use crate::files::is_file;
use crate::text::compose;

/// Times differ so much where a program has rounded them.
const ROUNDING: f64 = 0.002;

/// A file and the recording's channels that are in it.
#[derive(Debug, Clone)]
struct Source {
    path: PathBuf,
    channels: Vec<u64>,
}

/// A recording of a manifest.
#[derive(Debug, Clone)]
struct Long {
    origin: (PathBuf, usize),
    sources: Vec<Source>,
    seconds: f64,
}

/// The recordings of manifests, by their ids, in order.
#[derive(Debug, Default)]
pub(super) struct Recordings {
    list: Vec<Long>,
    places: HashMap<String, usize>,
}

impl Recordings {
    /// Adds a manifest of recordings.
    ///
    /// # Errors
    /// The first line that is wrong, unless `found` keeps errors.
    pub fn read(&mut self, lines: &mut Lines<'_>, found: &mut Found) -> Result<()> {
        let manifest = lines.name().to_path_buf();
        while let Some((line, text)) = lines.next_filled(found)? {
            let added = json::parse(&manifest, line, text).and_then(|fields| {
                let fields = Object::new(&manifest, line, &fields);
                let (id, long) = recording(&fields, &manifest, line)?;
                if self.places.insert(id.clone(), self.list.len()).is_some() {
                    return Err(
                        fields.error(format!("has the id {id} of a line above; give every one its own"))
                    );
                }
                self.list.push(long);
                Ok(())
            });
            found.keep(added)?;
        }
        Ok(())
    }

    /// Every recording as one without text.
    ///
    /// # Errors
    /// When there is none that `found` takes.
    pub fn unlabelled(self, found: &mut Found) -> Result<()> {
        for long in self.list {
            let origin = format!("{}:{}", long.origin.0.display(), long.origin.1);
            for source in long.sources {
                let utterance = Utterance::new(Recording::file(source.path), origin.clone());
                found.add(Ok(Utterance { duration: Some(long.seconds), ..utterance }))?;
            }
        }
        Ok(())
    }

    /// Reads a manifest of supervisions of these recordings.
    ///
    /// # Errors
    /// The first line that is wrong, unless `found` keeps errors.
    pub fn supervisions(&self, lines: &mut Lines<'_>, found: &mut Found) -> Result<()> {
        let manifest = lines.name().to_path_buf();
        while let Some((line, text)) = lines.next_filled(found)? {
            let utterance = json::parse(&manifest, line, text).and_then(|fields| {
                let fields = Object::new(&manifest, line, &fields);
                let id = fields.required("recording_id", "the id of its recording")?;
                let long = self.places.get(id).map(|&at| &self.list[at]).ok_or_else(|| {
                    fields.error(format!(
                        "is of the recording {id}, which no manifest of recordings has; add it"
                    ))
                })?;
                let (start, seconds) = times(&fields)?;
                if start + seconds > long.seconds + ROUNDING {
                    let message = format!(
                        "ends at {:.3} s, after its recording's {:.3} s; correct it",
                        start + seconds,
                        long.seconds
                    );
                    return Err(fields.error(message));
                }
                let (path, channel) = long.channel(&fields)?;
                described(&fields, long.part(path, channel, start, seconds), seconds, &manifest, line)
            });
            found.add(utterance)?;
        }
        Ok(())
    }
}

impl Long {
    /// The file and its channel that the field `channel` asks for; all channels of the only file without one.
    fn channel(&self, fields: &Object<'_>) -> Result<(&Path, Channel)> {
        let wanted: Vec<u64> = match fields.get("channel") {
            None => self.sources.iter().flat_map(|source| source.channels.clone()).collect(),
            Some(Value::Array(channels)) => channels.iter().filter_map(Value::as_u64).collect(),
            Some(value) => value.as_u64().into_iter().collect(),
        };
        let whole = |source: &&Source| !wanted.is_empty() && source.channels == wanted;
        if let Some(source) = self.sources.iter().find(whole) {
            return Ok((&source.path, Channel::Mix));
        }
        if let [channel] = wanted[..] {
            let found = self.sources.iter().find_map(|source| {
                let at = source.channels.iter().position(|&c| c == channel)?;
                Some((source.path.as_path(), Channel::Only(at + 1)))
            });
            return found.ok_or_else(|| {
                fields.error(format!("is of channel {channel}, which its recording has not"))
            });
        }
        Err(fields.error("is of several channels; give one channel, or a file that has these alone"))
    }

    /// The part of a file; the file where that is the same.
    fn part(&self, path: &Path, channel: Channel, start: f64, seconds: f64) -> Recording {
        let whole = start == 0.0 && (seconds - self.seconds).abs() <= ROUNDING;
        let span = (!whole).then_some(Span { start, seconds: Some(seconds) });
        Recording { place: Place::File(path.to_path_buf()), span, channel }
    }
}

/// `start` and `duration`.
fn times(fields: &Object<'_>) -> Result<(f64, f64)> {
    let start = fields.time("start")?.unwrap_or(0.0);
    let seconds = fields.duration("duration")?;
    Ok((start, seconds.ok_or_else(|| fields.error("has no field `duration`; add its seconds"))?))
}

/// An utterance with what a supervision says of it.
fn described(
    supervision: &Object<'_>,
    audio: Recording,
    seconds: f64,
    manifest: &Path,
    line: usize,
) -> Result<Utterance> {
    Ok(Utterance {
        duration: Some(seconds),
        text: supervision.string("text")?.map(compose),
        speaker: supervision.label("speaker")?,
        ..Utterance::new(audio, format!("{}:{line}", manifest.display()))
    })
}

/// A line of a manifest of recordings, or the field `recording` of a cut.
fn recording(fields: &Object<'_>, manifest: &Path, line: usize) -> Result<(String, Long)> {
    let id = fields.required("id", "the recording's id")?.to_owned();
    if fields.get("transforms").is_some_and(|value| value.as_array().is_none_or(|list| !list.is_empty())) {
        return Err(fields.error(format!(
            "has `transforms`, which change {id} when it is read; save its audio as it should be read"
        )));
    }
    let seconds = fields.duration("duration")?;
    let seconds =
        seconds.ok_or_else(|| fields.error("has no field `duration`; add the recording's seconds"))?;
    let list = fields.get("sources").and_then(Value::as_array).filter(|list| !list.is_empty());
    let list = list.ok_or_else(|| fields.error("has no list `sources`; add the recording's files"))?;
    let mut sources = Vec::new();
    for source in list {
        let kind = source["type"].as_str().unwrap_or("file");
        if kind != "file" {
            let message =
                format!("has a source of the type {kind}; save the audio of {id} to a file and name that");
            return Err(fields.error(message));
        }
        let path = source["source"].as_str().filter(|path| !path.is_empty());
        let path = path.ok_or_else(|| fields.error("has a source without a path; add `source`"))?;
        let channels = source["channels"].as_array();
        let channels = channels.map_or(vec![0], |list| list.iter().filter_map(Value::as_u64).collect());
        sources.push(Source { path: resolve_from_here(manifest, path), channels });
    }
    Ok((id, Long { origin: (manifest.to_path_buf(), line), sources, seconds }))
}

/// Reads a manifest of cuts. A cut with several supervisions gives an utterance for each of them.
///
/// # Errors
/// The first line that is wrong, unless `found` keeps errors.
pub(super) fn cuts(lines: &mut Lines<'_>, found: &mut Found) -> Result<()> {
    let manifest = lines.name().to_path_buf();
    while let Some((line, text)) = lines.next_filled(found)? {
        let utterances = json::parse(&manifest, line, text).and_then(|fields| cut(&fields, &manifest, line));
        for utterance in found.keep(utterances)?.unwrap_or_default() {
            found.add(Ok(utterance))?;
        }
    }
    Ok(())
}

fn cut(fields: &Map<String, Value>, manifest: &Path, line: usize) -> Result<Vec<Utterance>> {
    let cut = Object::new(manifest, line, fields);
    match cut.string("type")? {
        None | Some("MonoCut" | "Cut") => {}
        Some(kind) => {
            return Err(cut.error(format!(
                "is a {kind}; only a MonoCut is one part of one recording: save its audio, or take its MonoCuts"
            )));
        }
    }
    let Some(Value::Object(of)) = cut.get("recording") else {
        return Err(cut.error("has no recording; write cuts with their recordings, not with features alone"));
    };
    let (_, long) = recording(&Object::new(manifest, line, of), manifest, line)?;
    let (start, seconds) = times(&cut)?;
    if start + seconds > long.seconds + ROUNDING {
        let message =
            format!("ends at {:.3} s, after its recording's {:.3} s", start + seconds, long.seconds);
        return Err(cut.error(message));
    }
    let (path, channel) = long.channel(&cut)?;
    let none = Vec::new();
    let list = match cut.get("supervisions") {
        None => &none,
        Some(value) => value.as_array().ok_or_else(|| cut.error("field `supervisions` must be a list"))?,
    };
    let mut supervisions = Vec::with_capacity(list.len());
    for value in list {
        let fields = value.as_object().ok_or_else(|| cut.error("has a supervision that is no object"))?;
        let supervision = Object::new(manifest, line, fields);
        // In a cut they count from its beginning, and a part of one may lie before it.
        let from = supervision.number("start")?.unwrap_or(0.0);
        let length = supervision.duration("duration")?.unwrap_or(seconds - from);
        if from < -ROUNDING || from + length > seconds + ROUNDING {
            return Err(cut.error(format!(
                "has a supervision from {from:.3} to {:.3} s, which is not within its {seconds:.3} s; \
                 trim the cuts to their supervisions",
                from + length
            )));
        }
        supervisions.push((supervision, from.max(0.0), length));
    }
    let part = |start, seconds| long.part(path, channel, start, seconds);
    match supervisions.as_slice() {
        [] => {
            let origin = format!("{}:{line}", manifest.display());
            Ok(vec![Utterance { duration: Some(seconds), ..Utterance::new(part(start, seconds), origin) }])
        }
        [(supervision, ..)] => {
            Ok(vec![described(supervision, part(start, seconds), seconds, manifest, line)?])
        }
        several => several
            .iter()
            .map(|(supervision, from, length)| {
                let audio = part(start + from, *length);
                described(supervision, audio, *length, manifest, line)
            })
            .collect(),
    }
}

/// The manifest that belongs to `path`: `recordings` in its name in the place of `supervisions`, or the other
/// way round.
///
/// # Errors
/// When the system does not tell what is there.
pub(super) fn partner(path: &Path) -> Result<Option<PathBuf>> {
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else { return Ok(None) };
    let (this, other) = ("supervisions", "recordings");
    let partner = match (name.contains(this), name.contains(other)) {
        (true, false) => name.replace(this, other),
        (false, true) => name.replace(other, this),
        _ => return Ok(None),
    };
    let unpacked = partner.strip_suffix(".gz").map_or_else(|| format!("{partner}.gz"), str::to_owned);
    for name in [partner, unpacked] {
        let partner = path.with_file_name(name);
        if is_file(&partner)? {
            return Ok(Some(partner));
        }
    }
    Ok(None)
}

/// An error about supervisions without recordings.
pub(super) fn without_recordings(path: &Path) -> Error {
    let message = "has supervisions, but there is no recordings.jsonl.gz beside it; name that after it";
    Error::file(path, message)
}
