//! Kaldi: a folder with `wav.scp`, and `segments`, `text`, `utt2spk`, `utt2dur` where they are there.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::lines::Lines;
use super::{Found, resolve_from_here};
use crate::audio::{Recording, Span};
use crate::data::Utterance;
use crate::error::{Error, Result};
use crate::text::compose;

/// The file that makes a folder one of Kaldi's.
pub(super) const RECORDINGS: &str = "wav.scp";

/// What a file says of each id, with the number of its line.
type Table = BTreeMap<String, (usize, String)>;

/// Reads a folder; `open` opens one of its files where it is there.
///
/// # Errors
/// The first line that is wrong, unless `found` keeps errors.
pub(super) fn read<'a>(
    folder: &Path,
    open: impl Fn(&Path) -> Result<Option<Lines<'a>>>,
    found: &mut Found,
) -> Result<()> {
    let file = |name: &str| folder.join(name);
    let mut load = |name: &str| -> Result<Option<Table>> {
        open(&file(name))?.map(|mut lines| table(&mut lines, found)).transpose()
    };
    let recordings = load(RECORDINGS)?.unwrap_or_default();
    let segments = load("segments")?;
    let mut texts = load("text")?;
    let mut speakers = load("utt2spk")?;
    let durations = load("utt2dur")?;

    let scp = file(RECORDINGS);
    let audio = |id: &str, line: usize, rest: &str| -> Result<PathBuf> {
        let wrong = |what: &str| Error::line(&scp, line, format!("gives {id} as {what}"));
        if rest.ends_with('|') || rest.starts_with('|') {
            return Err(wrong("a command; run it once, write what it gives to a file, and name that file"));
        }
        if rest == "-" {
            return Err(wrong("standard input; name a file"));
        }
        if let Some((_, offset)) = rest.rsplit_once(".ark:")
            && offset.bytes().all(|byte| byte.is_ascii_digit())
        {
            return Err(wrong("a part of an archive; copy it out with wav-copy and name that file"));
        }
        Ok(resolve_from_here(&scp, rest))
    };
    let (origin, utterances) = match &segments {
        Some(segments) => (file("segments"), segments),
        None => (scp.clone(), &recordings),
    };
    for (id, (line, rest)) in utterances {
        let place = |message: String| Error::line(&origin, *line, message);
        let recording = match &segments {
            None => audio(id, *line, rest).map(Recording::file),
            Some(_) => segment(rest).map_err(place).and_then(|(name, span)| {
                let (line, rest) = recordings.get(name).ok_or_else(|| {
                    place(format!("is a part of {name}, which {RECORDINGS} does not name; add it there"))
                })?;
                Ok(Recording { span: Some(span), ..Recording::file(audio(name, *line, rest)?) })
            }),
        };
        // Taken first, so that what a wrong line lacks is not said of another file too.
        let text = texts.as_mut().map(|texts| texts.remove(id));
        let speaker = speakers.as_mut().map(|speakers| speakers.remove(id));
        let utterance = recording.and_then(|audio| {
            let lacks =
                |name: &str| place(format!("names {id}, which {name} lacks; add a line, or remove this"));
            let duration = match (audio.span, durations.as_ref().and_then(|durations| durations.get(id))) {
                (Some(span), _) => span.seconds,
                (None, None) => None,
                (None, Some((line, text))) => {
                    let seconds = text.parse().ok().filter(|s: &f64| *s > 0.0 && s.is_finite());
                    Some(seconds.ok_or_else(|| {
                        let message = format!("gives {id} {text:?} seconds; give a positive number");
                        Error::line(file("utt2dur"), *line, message)
                    })?)
                }
            };
            let text = match text {
                None => None,
                Some(text) => Some(compose(&text.ok_or_else(|| lacks("text"))?.1)),
            };
            let speaker = match speaker {
                None => None,
                Some(speaker) => Some(speaker.ok_or_else(|| lacks("utt2spk"))?.1),
            };
            let origin = format!("{}:{line}", origin.display());
            Ok(Utterance { duration, text, speaker, ..Utterance::new(audio, origin) })
        });
        found.add(utterance)?;
    }
    for (name, rest) in [("text", texts), ("utt2spk", speakers)] {
        if let Some((id, (line, _))) = rest.unwrap_or_default().into_iter().next() {
            let others = origin.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let message = format!("names {id}, which {others} lacks; add a line there, or remove this one");
            found.add(Err(Error::line(file(name), line, message)))?;
        }
    }
    Ok(())
}

/// `ID REST` a line.
fn table(lines: &mut Lines<'_>, found: &mut Found) -> Result<Table> {
    let mut table = Table::new();
    let name = lines.name().to_path_buf();
    // `text` may say of an utterance that nothing is said in it.
    let may_be_empty = name.file_name().is_some_and(|name| name == "text");
    while let Some((line, text)) = lines.next_filled(found)? {
        let (id, rest) = text.trim().split_once(char::is_whitespace).unwrap_or((text.trim(), ""));
        let rest = rest.trim();
        let wrong = if rest.is_empty() && !may_be_empty {
            Some(format!("has nothing after the id {id}; a line is an id, a space, and the rest"))
        } else {
            table
                .insert(id.to_owned(), (line, rest.to_owned()))
                .map(|(other, _)| format!("names {id}, as line {other} does; every id has one line"))
        };
        if let Some(message) = wrong {
            found.keep::<()>(Err(Error::line(&name, line, message)))?;
        }
    }
    Ok(table)
}

/// `RECORDING START END`, in seconds; an end of -1 is the recording's.
fn segment(rest: &str) -> Result<(&str, Span), String> {
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let [recording, start, end] = fields[..] else {
        return Err("is not UTTERANCE RECORDING START END; give these four".to_owned());
    };
    let number = |text: &str| text.parse::<f64>().ok().filter(|seconds| seconds.is_finite());
    let (Some(start), Some(end)) = (number(start).filter(|s| *s >= 0.0), number(end)) else {
        return Err(format!("is from {start} to {end}; give seconds from the recording's beginning"));
    };
    if end == -1.0 {
        return Ok((recording, Span { start, seconds: None }));
    }
    if end <= start {
        return Err(format!("ends at {end} s, not after its start at {start} s; correct it"));
    }
    Ok((recording, Span { start, seconds: Some(end - start) }))
}
