//! SpeechBrain: a CSV with the header `ID,duration,wav,start,stop,spk_id,wrd`, of which only `wav` is required.

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::csv::{self, Record};
use super::lines::Lines;
use super::{Found, folder_of};
use crate::audio::{Channel, Recording, SAMPLE_RATE, Span};
use crate::data::{Utterance, parallel};
use crate::error::{Error, Result};
use crate::text::compose;

/// The first and the last sample but one of a part, at the rate of its file.
struct Samples {
    start: u64,
    stop: Option<u64>,
}

/// Where the columns are.
struct Columns {
    names: Vec<String>,
    wav: usize,
    id: Option<usize>,
    duration: Option<usize>,
    start: Option<usize>,
    stop: Option<usize>,
    speaker: Option<usize>,
    words: Option<usize>,
    label: Option<usize>,
}

/// Reads a manifest.
///
/// # Errors
/// The first row that is wrong, unless `found` keeps errors.
pub(super) fn read(lines: &mut Lines<'_>, found: &mut Found) -> Result<()> {
    let manifest = lines.name().to_path_buf();
    let Some(header) = csv::next(lines, found)? else { return Ok(()) };
    let columns = Columns::new(&manifest, header)?;
    let (mut ids, mut parts) = (HashSet::new(), Vec::new());
    while let Some(row) = csv::next(lines, found)? {
        let read = columns.utterance(&manifest, &row, &mut ids);
        if let Some((utterance, samples)) = found.keep(read)? {
            parts.extend(samples.map(|samples| (found.utterances.len(), samples)));
            found.utterances.push(utterance);
        }
    }
    place_parts(&mut found.utterances, &parts);
    Ok(())
}

/// Turns samples into seconds by the rate that each file has.
fn place_parts(utterances: &mut [Utterance], parts: &[(usize, Samples)]) {
    let path = |at: usize| utterances[at].audio.path().unwrap_or(Path::new("")).to_path_buf();
    let files: Vec<PathBuf> =
        parts.iter().map(|(at, _)| path(*at)).collect::<HashSet<_>>().into_iter().collect();
    // The beginning of a file tells its rate. What cannot be read is named when its audio is read.
    let beginning = Some(Span { start: 0.0, seconds: Some(0.02) });
    let rates = parallel(files.len(), |at| {
        let recording =
            Recording { span: beginning, channel: Channel::Only(1), ..Recording::file(&files[at]) };
        recording.read().map_or(SAMPLE_RATE, |audio| audio.source_rate)
    });
    let rates: HashMap<&Path, u32> = files.iter().map(PathBuf::as_path).zip(rates).collect();
    let rate: Vec<f64> = parts.iter().map(|(at, _)| f64::from(rates[path(*at).as_path()])).collect();
    for ((at, samples), rate) in parts.iter().zip(rate) {
        let seconds = samples.stop.map(|stop| (stop - samples.start) as f64 / rate);
        let utterance = &mut utterances[*at];
        utterance.audio.span = Some(Span { start: samples.start as f64 / rate, seconds });
        // The column may have the duration of the whole file.
        utterance.duration = seconds;
    }
}

impl Columns {
    fn new(manifest: &Path, header: Record) -> Result<Self> {
        let names: Vec<String> = header.fields.iter().map(|field| field.trim().to_owned()).collect();
        let find = |wanted: &[&str]| names.iter().position(|name| wanted.contains(&name.as_str()));
        let wav = find(&["wav"]).ok_or_else(|| {
            let message = "has no column `wav`; the header is ID,duration,wav,start,stop,spk_id,wrd";
            Error::line(manifest, header.line, message)
        })?;
        Ok(Self {
            wav,
            id: find(&["ID"]),
            duration: find(&["duration"]),
            start: find(&["start"]),
            stop: find(&["stop"]),
            speaker: find(&["spk_id", "spk", "speaker"]),
            words: find(&["wrd", "words", "transcript", "text"]),
            label: find(&["label"]),
            names,
        })
    }

    fn utterance(
        &self,
        manifest: &Path,
        row: &Record,
        ids: &mut HashSet<String>,
    ) -> Result<(Utterance, Option<Samples>)> {
        let wrong = |message: String| Error::line(manifest, row.line, message);
        let (count, columns) = (row.fields.len(), self.names.len());
        if count > columns {
            let message =
                format!("has {count} fields for {columns} columns; put fields with commas in quotes");
            return Err(wrong(message));
        }
        let field = |column: Option<usize>| match column {
            None => Ok(None),
            Some(at) => row
                .fields
                .get(at)
                .map(|field| Some(field.trim()))
                .ok_or_else(|| wrong(format!("has no field `{}`; fill in every column", self.names[at]))),
        };
        let filled = |column| field(column).map(|field| field.filter(|field| !field.is_empty()));
        let samples = |column, name: &str| -> Result<Option<u64>> {
            let Some(text) = filled(column)? else { return Ok(None) };
            // Tables written by other programs have 10024.0.
            let whole = text.strip_suffix(".0").unwrap_or(text);
            whole.parse().map(Some).map_err(|_| {
                wrong(format!("field `{name}` is {text:?}; give a sample's number, counted from 0"))
            })
        };
        if let Some(id) = filled(self.id)?
            && !ids.insert(id.to_owned())
        {
            return Err(wrong(format!("has the ID {id} of a row above; give every row its own")));
        }
        let path = filled(Some(self.wav))?
            .ok_or_else(|| wrong("has an empty field `wav`; add the audio file's path".to_owned()))?;
        let seconds = match filled(self.duration)? {
            None => None,
            Some(text) => {
                let seconds = text.parse::<f64>().ok().filter(|s| *s > 0.0 && s.is_finite());
                Some(seconds.ok_or_else(|| {
                    wrong(format!("field `duration` is {text:?}; give a positive number of seconds"))
                })?)
            }
        };
        let (start, stop) = (samples(self.start, "start")?, samples(self.stop, "stop")?);
        let part = match (start, stop) {
            (None, None) => None,
            (start, stop) => {
                let start = start.unwrap_or(0);
                if let Some(stop) = stop.filter(|&stop| stop <= start) {
                    let message =
                        format!("stops at sample {stop}, not after its start at {start}; correct it");
                    return Err(wrong(message));
                }
                Some(Samples { start, stop })
            }
        };
        let audio = Recording::file(place(manifest, path, |name| std::env::var_os(name)));
        let utterance = Utterance {
            duration: seconds,
            text: field(self.words)?.map(compose),
            speaker: filled(self.speaker)?.map(str::to_owned),
            label: filled(self.label)?.map(str::to_owned),
            ..Utterance::new(audio, format!("{}:{}", manifest.display(), row.line))
        };
        Ok((utterance, part))
    }
}

/// The path, in which a leading `$data_folder` or `{data_root}` stands for the environment's variable of that
/// name, or else for the manifest's folder.
fn place(manifest: &Path, path: &str, variable: impl Fn(&str) -> Option<OsString>) -> PathBuf {
    let (first, rest) = path.split_once('/').unwrap_or((path, ""));
    let named = [("${", "}"), ("{", "}"), ("$", "")]
        .into_iter()
        .find_map(|(open, close)| first.strip_prefix(open)?.strip_suffix(close));
    match named.filter(|_| !rest.is_empty()) {
        None => folder_of(manifest).join(path),
        Some(name) => {
            let root = variable(name).filter(|root| !root.is_empty()).map(PathBuf::from);
            root.unwrap_or_else(|| folder_of(manifest).to_path_buf()).join(rest.trim_start_matches('/'))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_stand_for_a_folder() {
        let variable = |name: &str| (name == "data_folder").then(|| OsString::from("/data"));
        for (path, expected) in [
            ("$data_folder/a/b.wav", "/data/a/b.wav"),
            ("${data_folder}/b.wav", "/data/b.wav"),
            ("{data_root}/b.wav", "m/b.wav"),
            ("$other//b.wav", "m/b.wav"),
            ("a/b.wav", "m/a/b.wav"),
            ("/a/b.wav", "/a/b.wav"),
            ("$.wav", "m/$.wav"),
        ] {
            assert_eq!(place(Path::new("m/x.csv"), path, variable), Path::new(expected), "{path}");
        }
    }
}
