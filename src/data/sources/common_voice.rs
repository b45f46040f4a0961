//! Common Voice: `*.tsv` with the columns `path`, `sentence`, `client_id`, `label`; the audio is in `clips/` beside it.

use std::collections::HashMap;

use super::lines::Lines;
use super::{Found, folder_of};
use crate::audio::Recording;
use crate::data::Utterance;
use crate::error::{Error, Result};
use crate::text::compose;

/// Durations of clips in milliseconds, which newer releases have beside the lists.
pub(super) const DURATIONS: &str = "clip_durations.tsv";

/// Reads a list of clips; `durations` is the file of that name, where it is there.
///
/// # Errors
/// The first line that is wrong, unless `found` keeps errors.
pub(super) fn read(lines: &mut Lines<'_>, durations: Option<Lines<'_>>, found: &mut Found) -> Result<()> {
    let list = lines.name().to_path_buf();
    let Some((line, header)) = lines.next_filled(found)? else { return Ok(()) };
    let names: Vec<String> = header.split('\t').map(|name| name.trim().to_owned()).collect();
    let column = |wanted: &str| names.iter().position(|name| name == wanted);
    let path = column("path").ok_or_else(|| {
        Error::line(&list, line, "has no column `path`; the header is client_id, path, sentence, … with tabs")
    })?;
    let (sentence, speaker, label) = (column("sentence"), column("client_id"), column("label"));
    let seconds = durations.map(|mut lines| seconds(&mut lines, found)).transpose()?.unwrap_or_default();
    let clips = folder_of(&list).join("clips");
    while let Some((line, text)) = lines.next_filled(found)? {
        // Fields hold quotes as they are; there is no tab within one.
        let fields: Vec<&str> = text.split('\t').collect();
        let field = |column: Option<usize>| -> Result<Option<&str>> {
            let Some(at) = column else { return Ok(None) };
            let lacks = || {
                let message =
                    format!("has {} fields and no `{}`; fill in every column", fields.len(), names[at]);
                Error::line(&list, line, message)
            };
            Ok(Some(fields.get(at).ok_or_else(lacks)?.trim()))
        };
        let utterance = || -> Result<Utterance> {
            if fields.len() > names.len() {
                let message =
                    format!("has {} fields for {} columns; remove tabs in texts", fields.len(), names.len());
                return Err(Error::line(&list, line, message));
            }
            let name = field(Some(path))?
                .filter(|name| !name.is_empty())
                .ok_or_else(|| Error::line(&list, line, "has an empty field `path`; add the clip's name"))?;
            // The first releases leave the ending out.
            let ending = if name.contains('.') { "" } else { ".mp3" };
            let place = match name.contains('/') {
                true => folder_of(&list).join(format!("{name}{ending}")),
                false => clips.join(format!("{name}{ending}")),
            };
            Ok(Utterance {
                duration: seconds.get(name).copied(),
                text: field(sentence)?.map(compose),
                speaker: field(speaker)?.filter(|id| !id.is_empty()).map(str::to_owned),
                label: field(label)?.filter(|label| !label.is_empty()).map(str::to_owned),
                ..Utterance::new(Recording::file(place), format!("{}:{line}", list.display()))
            })
        };
        found.add(utterance())?;
    }
    Ok(())
}

/// `CLIP MILLISECONDS` a line, behind a header.
fn seconds(lines: &mut Lines<'_>, found: &mut Found) -> Result<HashMap<String, f64>> {
    let name = lines.name().to_path_buf();
    let mut seconds = HashMap::new();
    lines.next_filled(found)?;
    while let Some((line, text)) = lines.next_filled(found)? {
        let wrong = || {
            Error::line(&name, line, "is not a clip, a tab and milliseconds; correct it, or remove the file")
        };
        let (clip, duration) = text.split_once('\t').ok_or_else(wrong)?;
        let duration: f64 = duration.trim().parse().map_err(|_| wrong())?;
        // Clips that could not be measured have 0 there.
        if duration > 0.0 && duration.is_finite() {
            seconds.insert(clip.to_owned(), duration / 1000.0);
        }
    }
    Ok(seconds)
}
