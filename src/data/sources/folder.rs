//! Folders: LibriSpeech trees, and all audio that lies in one.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::lines::Lines;
use super::{Found, folder_of, is_list_name};
use crate::audio::{Recording, is_audio_name, looks_like_audio};
use crate::data::Utterance;
use crate::error::{Error, Result};
use crate::files::{self, unreadable};
use crate::text::compose;

const TRANSCRIPTS: &str = ".trans.txt";
/// Files that are listed by name.
const NAMED: usize = 3;

/// Reads a LibriSpeech tree if there are transcripts in the folder, else every audio file of it.
///
/// # Errors
/// When the folder cannot be read; a line that is wrong, unless `found` keeps errors.
pub(super) fn read(folder: &Path, found: &mut Found) -> Result<()> {
    let mut files = BTreeSet::new();
    list(folder, &mut BTreeSet::new(), &mut files, found)?;
    let ends_with = |path: &Path, ending: &str| {
        path.file_name().is_some_and(|name| name.to_string_lossy().ends_with(ending))
    };
    let transcripts: Vec<&PathBuf> = files.iter().filter(|path| ends_with(path, TRANSCRIPTS)).collect();
    let audio: Vec<&PathBuf> = files.iter().filter(|path| is_audio_name(path)).collect();
    say(found, folder, "audio of a kind that is not read", files.iter().filter(|p| is_other(p)));
    if transcripts.is_empty() {
        for path in audio {
            let origin = folder.display().to_string();
            found.add(Ok(Utterance::new(Recording::file(path), origin)))?;
        }
        return Ok(());
    }
    // By the name without its ending, for an id may be of any kind of audio.
    let stems: BTreeMap<PathBuf, &PathBuf> =
        audio.iter().rev().map(|path| (path.with_extension(""), *path)).collect();
    let mut named = BTreeSet::new();
    for path in transcripts {
        let find = |id: &str| {
            let stem = folder_of(path).join(id);
            stems.get(&stem).map(|&path| path.clone())
        };
        librispeech(&mut Lines::open(path)?, find, found, &mut named)?;
    }
    let unnamed = audio.into_iter().filter(|path| !named.contains(*path));
    say(found, folder, "which no transcript names", unnamed);
    Ok(())
}

/// Notes how many files there are of a kind, and the first of them.
fn say<'a>(found: &mut Found, folder: &Path, what: &str, files: impl Iterator<Item = &'a PathBuf>) {
    let files: Vec<String> = files.map(|path| path.display().to_string()).collect();
    if !files.is_empty() {
        let more = if files.len() > NAMED { ", …" } else { "" };
        let names = files[..files.len().min(NAMED)].join(", ");
        let count = if files.len() == 1 { "1 file".to_owned() } else { format!("{} files", files.len()) };
        found.note(format!("{} leaves out {count}, {what}: {names}{more}", folder.display()));
    }
}

fn is_other(path: &Path) -> bool {
    looks_like_audio(path) && !is_audio_name(path)
}

/// Lists the files in a folder and those in it. Hidden ones are left out: thumbnails, caches, and the
/// `._*` files in which a Mac keeps what other systems have no place for.
fn list(
    folder: &Path,
    visited: &mut BTreeSet<PathBuf>,
    names: &mut BTreeSet<PathBuf>,
    found: &mut Found,
) -> Result<()> {
    let unreadable = |error: std::io::Error| unreadable(folder, &error);
    // Links may make a folder its own descendant.
    if !visited.insert(folder.canonicalize().map_err(unreadable)?) {
        return Ok(());
    }
    let mut folders = Vec::new();
    for path in files::entries(folder)? {
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.')) {
            continue;
        }
        let is_link = path.is_symlink();
        if path.is_dir() {
            folders.push((is_link, path));
        } else {
            names.insert(path);
        }
    }
    // What is reached in two ways keeps its own name, whatever order the system lists it in.
    folders.sort();
    for (_, path) in folders {
        let listed = list(&path, visited, names, found);
        found.keep(listed)?;
    }
    Ok(())
}

/// `ID TEXT` a line, with the audio `ID.flac` beside; the speaker is the ID up to its first `-`.
pub(super) fn librispeech(
    lines: &mut Lines<'_>,
    find: impl Fn(&str) -> Option<PathBuf>,
    found: &mut Found,
    named: &mut BTreeSet<PathBuf>,
) -> Result<()> {
    let transcripts = lines.name().to_path_buf();
    while let Some((line, content)) = lines.next_filled(found)? {
        let mut utterance = || -> Result<Utterance> {
            let (id, words) = content.trim().split_once(char::is_whitespace).ok_or_else(|| {
                Error::line(&transcripts, line, "has no text after the utterance's ID; add its words")
            })?;
            let path = find(id).ok_or_else(|| {
                let message = format!("names {id}, but there is no {id}.flac beside it, nor other audio");
                Error::line(&transcripts, line, message)
            })?;
            named.insert(path.clone());
            Ok(Utterance {
                text: Some(compose(words.trim())),
                speaker: id.split_once('-').map(|(speaker, _)| speaker.to_owned()),
                ..Utterance::new(Recording::file(path), format!("{}:{line}", transcripts.display()))
            })
        };
        found.add(utterance())?;
    }
    Ok(())
}

/// The manifests that lie in a folder without audio, for whom the folder stands.
pub(super) fn manifests(folder: &Path) -> String {
    let mut files = BTreeSet::new();
    if list(folder, &mut BTreeSet::new(), &mut files, &mut Found::default()).is_err() {
        return String::new();
    }
    let manifests = files.iter().filter(|path| is_list_name(path));
    let names: Vec<_> = manifests.take(NAMED).map(|path| path.display().to_string()).collect();
    if names.is_empty() { String::new() } else { format!(" but {}: name these", names.join(", ")) }
}
