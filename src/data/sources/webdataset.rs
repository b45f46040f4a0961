//! WebDataset: in a tar archive, the files of one sample have one name up to the first dot.

use std::collections::HashMap;
use std::io::{Read, Seek};
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;

use super::Found;
use super::archive::{self, Member};
use crate::audio::{Channel, Place, Recording, is_audio_name};
use crate::data::Utterance;
use crate::error::{Error, Result};
use crate::text::compose;

/// A text that goes with a recording is not longer.
const LONGEST_TEXT: u64 = 1 << 20;
/// Where a sample's JSON has what is said.
const TEXTS: [&str; 4] = ["text", "transcript", "transcription", "sentence"];

/// What an archive has of one sample.
#[derive(Default)]
struct Sample {
    key: String,
    audio: Vec<Member>,
    text: Option<String>,
    label: Option<String>,
    speaker: Option<String>,
}

/// Reads an archive: `KEY.<audio>` with `KEY.txt`, `KEY.json` (`text`, `speaker`, `label`) or `KEY.cls`.
///
/// # Errors
/// When it is no whole archive; a sample that is wrong, unless `found` keeps errors.
pub(super) fn read<R: Read + Seek>(path: &Path, reader: &mut R, found: &mut Found) -> Result<()> {
    let mut samples: Vec<Sample> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    let mut broken = Vec::new();
    archive::members(path, reader, |member, bytes| {
        let folder = member.name.rfind('/').map_or(0, |at| at + 1);
        let Some(dot) = member.name[folder..].find('.').map(|at| folder + at) else { return Ok(()) };
        let (key, ending) = (&member.name[..dot], member.name[dot + 1..].to_ascii_lowercase());
        let ending = ending.rsplit('.').next().unwrap_or_default();
        let is_audio = is_audio_name(Path::new(&member.name));
        if !(is_audio || matches!(ending, "txt" | "json" | "cls")) {
            return Ok(());
        }
        let at = *places.entry(key.to_owned()).or_insert_with(|| {
            samples.push(Sample { key: key.to_owned(), ..Sample::default() });
            samples.len() - 1
        });
        let sample = &mut samples[at];
        if is_audio {
            sample.audio.push(member);
        } else if let Err(reason) = describe(sample, ending, &member, bytes) {
            broken.push(Error::file(path.join(&member.name), reason));
        }
        Ok(())
    })?;
    for error in broken {
        found.add(Err(error))?;
    }
    let silent: Vec<&Sample> = samples.iter().filter(|sample| sample.audio.is_empty()).collect();
    if let Some(first) = silent.first() {
        let count = silent.len();
        found.note(format!(
            "{} leaves out {count} samples without audio, {} first",
            path.display(),
            first.key
        ));
    }
    let archive: Arc<Path> = path.into();
    for sample in samples {
        for member in sample.audio {
            let origin = format!("{}/{}", path.display(), member.name);
            let Member { name, start, bytes } = member;
            let place = Place::Member { archive: Arc::clone(&archive), name, start, bytes };
            found.add(Ok(Utterance {
                text: sample.text.clone(),
                speaker: sample.speaker.clone(),
                label: sample.label.clone(),
                ..Utterance::new(Recording { place, span: None, channel: Channel::Mix }, origin)
            }))?;
        }
    }
    Ok(())
}

/// Takes what a file beside the audio says.
fn describe(sample: &mut Sample, ending: &str, member: &Member, bytes: &mut dyn Read) -> Result<(), String> {
    if member.bytes > LONGEST_TEXT {
        return Err(format!("is longer than {} MiB; this is no text of a recording", LONGEST_TEXT >> 20));
    }
    let mut content = String::new();
    bytes.read_to_string(&mut content).map_err(|error| format!("is no text ({error}); save it as UTF-8"))?;
    let content = content.trim_start_matches('\u{feff}').trim();
    match ending {
        "txt" => sample.text = Some(compose(content)),
        "cls" => sample.label = Some(content.to_owned()),
        _ => {
            let fields: Value = serde_json::from_str(content)
                .map_err(|error| format!("is no JSON ({error}); write an object with `text`"))?;
            let name = |key: &str| match &fields[key] {
                Value::String(text) => Some(text.clone()),
                Value::Number(number) => Some(number.to_string()),
                _ => None,
            };
            if let Some(text) = TEXTS.iter().find_map(|key| fields[*key].as_str()) {
                sample.text.get_or_insert_with(|| compose(text));
            }
            sample.speaker = name("speaker").or_else(|| name("speaker_id"));
            if sample.label.is_none() {
                sample.label = name("label");
            }
        }
    }
    Ok(())
}
