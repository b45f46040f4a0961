//! NeMo: `{"audio_filepath", "duration"?, "offset"?, "channel"?, "text"?, "speaker"?, "label"?}` a line, and
//! the same with `shard_id`, where the audio is in tar archives. With `member_start` and `member_bytes`, as
//! [`pack`](crate::data::pack) writes them, nothing has to be searched for in the archives.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;

use super::json::{self, Object};
use super::lines::Lines;
use super::{Found, archive, resolve};
use crate::audio::{Channel, Place, Recording, Span};
use crate::data::Utterance;
use crate::error::{Error, Result};
use crate::files::{is_file, unreadable};

/// First byte and length of an archive's members.
type Members = HashMap<String, (u64, u64)>;

/// Where a manifest says that a member is: its first byte and its length.
type Position = (u64, u64);

/// The tar archives of a manifest, by their number.
pub(super) struct Shards {
    /// Archives that were named beside the manifest.
    named: BTreeMap<u64, PathBuf>,
    /// Archives that were looked into, by their manifest's folder and their number.
    opened: BTreeMap<(PathBuf, u64), (Arc<Path>, Members)>,
    /// Archives whose members the manifest locates, and their lengths.
    located: BTreeMap<(PathBuf, u64), (Arc<Path>, u64)>,
    used: BTreeSet<u64>,
}

impl Shards {
    /// The archives `tars`, each with its number at the end of its name.
    ///
    /// # Errors
    /// When a name has none, or two have the same.
    pub fn new<'a>(tars: impl IntoIterator<Item = &'a Path>) -> Result<Self> {
        let mut named = BTreeMap::new();
        for tar in tars {
            let number = trailing_number(tar).ok_or_else(|| {
                Error::file(
                    tar,
                    "has no number at the end of its name; NeMo's shards are audio_0.tar, audio_1.tar, …",
                )
            })?;
            if let Some(other) = named.insert(number, tar.to_path_buf()) {
                let message =
                    format!("is shard {number}, as is {}; give one of each number", other.display());
                return Err(Error::file(tar, message));
            }
        }
        Ok(Self { named, opened: BTreeMap::new(), located: BTreeMap::new(), used: BTreeSet::new() })
    }

    /// Says which archives no line has named.
    ///
    /// # Errors
    /// When there is one.
    pub fn check_all_used(&self) -> Result<()> {
        match self.named.iter().find(|(number, _)| !self.used.contains(number)) {
            None => Ok(()),
            Some((number, tar)) => Err(Error::file(
                tar,
                format!("is shard {number}, which no line of the manifests names; leave it out"),
            )),
        }
    }

    /// The archive `number` of the manifest.
    ///
    /// # Errors
    /// When the system does not tell what is there.
    fn path(&self, manifest: &Path, number: u64) -> Result<Option<PathBuf>> {
        if let Some(named) = self.named.get(&number) {
            return Ok(Some(named.clone()));
        }
        let folder = super::folder_of(manifest);
        let name = format!("audio_{number}.tar");
        // `sharded_manifests/manifest_3.json` lies a folder below `audio_3.tar`.
        let above = folder.canonicalize().ok().and_then(|folder| Some(folder.parent()?.join(&name)));
        for tar in [Some(folder.join(&name)), above].into_iter().flatten() {
            if is_file(&tar)? {
                return Ok(Some(tar));
            }
        }
        Ok(None)
    }

    /// The archive `number` of the manifest, which must be there.
    fn there(&self, line: &Object<'_>, manifest: &Path, number: u64) -> Result<PathBuf> {
        self.path(manifest, number)?.ok_or_else(|| {
            line.error(format!(
                "is in shard {number}, but there is no audio_{number}.tar beside the manifest; \
                 name the archives after it"
            ))
        })
    }

    /// Looks into the archive `number`, once.
    fn open(&mut self, line: &Object<'_>, manifest: &Path, number: u64) -> Result<()> {
        self.used.insert(number);
        let key = (super::folder_of(manifest).to_path_buf(), number);
        if self.opened.contains_key(&key) {
            return Ok(());
        }
        let tar = self.there(line, manifest, number)?;
        let mut members = Members::new();
        archive::members(&tar, &mut archive::open(&tar)?, |member, _| {
            members.insert(member.name, (member.start, member.bytes));
            Ok(())
        })?;
        self.opened.insert(key, (tar.into(), members));
        Ok(())
    }

    /// Where the audio of a line is, which says so itself. The first of each archive is looked for there.
    fn locate(
        &mut self,
        line: &Object<'_>,
        manifest: &Path,
        number: u64,
        name: &str,
        (start, bytes): Position,
    ) -> Result<Place> {
        self.used.insert(number);
        let key = (super::folder_of(manifest).to_path_buf(), number);
        if !self.located.contains_key(&key) {
            let tar = self.there(line, manifest, number)?;
            let mut reader = archive::open(&tar)?;
            if !archive::begins(&tar, &mut reader, name, start)? {
                return Err(line.error(format!(
                    "says that {name} begins at byte {start} of {}, where it does not; take the archives that belong to \
                     this manifest",
                    tar.display()
                )));
            }
            let length = reader.get_ref().metadata().map_err(|error| unreadable(&tar, &error))?.len();
            self.located.insert(key.clone(), (tar.into(), length));
        }
        let (tar, length) = &self.located[&key];
        if start.checked_add(bytes).is_none_or(|end| end > *length) {
            return Err(line.error(format!(
                "says that {name} has {bytes} bytes from byte {start} of {} on, which ends at {length}; fetch it again",
                tar.display()
            )));
        }
        Ok(Place::Member { archive: Arc::clone(tar), name: name.to_owned(), start, bytes })
    }

    /// Where the audio of a line is.
    fn find(&mut self, line: &Object<'_>, manifest: &Path, number: u64, name: &str) -> Result<Place> {
        self.open(line, manifest, number)?;
        let (tar, members) = &self.opened[&(super::folder_of(manifest).to_path_buf(), number)];
        let (stored, &(start, bytes)) = members
            .get_key_value(name)
            .or_else(|| members.get_key_value(without_part(name)?.as_str()))
            .ok_or_else(|| {
                line.error(format!(
                    "names {name}, which is not in {}; give the archives of this manifest",
                    tar.display()
                ))
            })?;
        Ok(Place::Member { archive: Arc::clone(tar), name: stored.clone(), start, bytes })
    }
}

/// The digits at the end of a file's stem.
fn trailing_number(path: &Path) -> Option<u64> {
    let stem = path.file_stem()?.to_string_lossy();
    let digits = stem.trim_end_matches(|c: char| c.is_ascii_digit()).len();
    stem[digits..].parse().ok()
}

/// The name of the member of which `name` is a further part: `a-sub2.wav` is one of `a.wav`.
fn without_part(name: &str) -> Option<String> {
    let (stem, ending) = name.rsplit_once('.').map_or((name, ""), |(stem, ending)| (stem, ending));
    let (whole, number) = stem.rsplit_once("-sub")?;
    let numbered = !number.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit());
    numbered.then(|| if ending.is_empty() { whole.to_owned() } else { format!("{whole}.{ending}") })
}

/// Reads a manifest.
///
/// # Errors
/// The first line that is wrong, unless `found` keeps errors.
pub(super) fn read(lines: &mut Lines<'_>, shards: &mut Shards, found: &mut Found) -> Result<()> {
    let manifest = lines.name().to_path_buf();
    while let Some((line, text)) = lines.next_filled(found)? {
        let utterance = utterance(&manifest, line, text, shards);
        found.add(utterance)?;
    }
    Ok(())
}

fn utterance(manifest: &Path, line: usize, text: &str, shards: &mut Shards) -> Result<Utterance> {
    let fields = json::parse(manifest, line, text)?;
    let fields = Object::new(manifest, line, &fields);
    let path = fields.required("audio_filepath", "the audio file's path")?;
    let duration = fields.duration("duration")?;
    let span = fields.time("offset")?.map(|start| Span { start, seconds: duration });
    let position = position(&fields)?;
    let place = match fields.get("shard_id").and_then(Value::as_u64) {
        Some(number) => match position {
            Some(position) => shards.locate(&fields, manifest, number, path, position)?,
            None => shards.find(&fields, manifest, number, path)?,
        },
        None => Place::File(resolve(manifest, path)),
    };
    let measured = position.is_some() && span.is_none() && fields.flag("duration_measured")?;
    let audio = Recording { place, span, channel: channel(&fields)? };
    Ok(Utterance {
        duration,
        measured,
        text: fields.string("text")?.map(crate::text::compose),
        speaker: fields.label("speaker")?,
        label: fields.label("label")?,
        ..Utterance::new(audio, format!("{}:{line}", manifest.display()))
    })
}

/// `member_start` and `member_bytes`.
fn position(fields: &Object<'_>) -> Result<Option<Position>> {
    let number = |key: &str| {
        let wrong = |value: &Value| fields.error(format!("field `{key}` is {value}; give a number of bytes"));
        fields.get(key).map(|value| value.as_u64().ok_or_else(|| wrong(value))).transpose()
    };
    match (number("member_start")?, number("member_bytes")?) {
        (Some(start), Some(bytes)) => Ok(Some((start, bytes))),
        (None, None) => Ok(None),
        _ => Err(fields.error("has one of `member_start` and `member_bytes`; give both or none")),
    }
}

/// `channel`: a number from 1, or "mix".
fn channel(fields: &Object<'_>) -> Result<Channel> {
    match fields.get("channel") {
        None => Ok(Channel::Mix),
        Some(Value::String(text)) if text == "mix" => Ok(Channel::Mix),
        Some(value) => match value.as_u64().or_else(|| value.as_str()?.parse().ok()) {
            Some(number @ 1..=65_535) => Ok(Channel::Only(number as usize)),
            _ => Err(fields.error(format!("field `channel` is {value}; give a number from 1, or \"mix\""))),
        },
    }
}
