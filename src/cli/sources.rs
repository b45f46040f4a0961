//! The recordings of a command's sources, which threads prefetch.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::output::Failures;
use crate::audio::{Audio, Channel, Place, Recording, check_length};
use crate::data::{Corpus, Utterance, is_list_name};
use crate::error::{Error, Result};
use crate::train::interrupted;

/// Recordings that are recognized together at the most.
const GROUP: usize = 16;
/// Recordings that wait for the device, and their samples (64 MiB), unless the next one alone has more.
const MOST_AHEAD: usize = 2 * GROUP;
const MOST_SAMPLES: usize = 1 << 24;
/// How often a waiting thread checks for a stop.
const GLANCE: Duration = Duration::from_millis(100);

/// The recordings of audio files of any name, `-` for standard input, manifests and folders.
///
/// A source that cannot be read, and lines of it that are wrong, go to `failures`.
///
/// # Errors
/// When `failures` ends the command.
pub(super) fn gather(
    sources: &[PathBuf],
    channel: Option<Channel>,
    failures: &mut Failures,
) -> Result<Vec<Utterance>> {
    let mut utterances = Vec::new();
    // Lists beside each other may belong together.
    let is_list = |source: &Path| is_list_name(source) || source.is_dir();
    for sources in sources.chunk_by(|a, b| is_list(a) && is_list(b)) {
        let source = &sources[0];
        let found = if is_list(source) {
            Corpus::read_with_errors(sources).map(|(corpus, wrong)| (corpus.utterances, wrong))
        } else if source.as_os_str() == "-" {
            Ok((vec![alone(Recording::stdin(), source)], Vec::new()))
        } else {
            // Pipes are read when it is their turn.
            Ok((vec![alone(Recording::file(source), source)], Vec::new()))
        };
        match found {
            Ok((found, wrong)) => {
                utterances.extend(found);
                wrong.into_iter().try_for_each(|error| failures.add(error))?;
            }
            Err(error) => failures.add(error)?,
        }
    }
    let mut corpus = Corpus { utterances };
    corpus.choose_channel(channel);
    Ok(corpus.utterances)
}

/// A recording that is a source itself.
fn alone(audio: Recording, source: &Path) -> Utterance {
    Utterance::new(audio, source.display().to_string())
}

/// The error about a recording, with the manifest's line where one names it.
pub(super) fn about(utterance: &Utterance, error: Error) -> Error {
    let (name, origin) = (utterance.audio.to_string(), &utterance.origin);
    let place = if name.starts_with(origin) { name.clone() } else { format!("{name} ({origin})") };
    match error {
        Error::File { path, message } => {
            let file = utterance.audio.path().is_some_and(|file| file.display().to_string() == path);
            Error::file(place, if file || path == name { message } else { format!("{path}: {message}") })
        }
        Error::Invalid(message) => Error::file(place, message),
        other => other,
    }
}

/// A name for each recording: its file's stem, from the second of equal ones on with `#2`, `#3` and so forth.
pub(super) fn stems(utterances: &[Utterance]) -> Vec<String> {
    let stem = |utterance: &Utterance| {
        let name = utterance.audio.stored_name();
        Path::new(&*name).file_stem().unwrap_or_default().to_string_lossy().into_owned()
    };
    let plain: BTreeSet<String> = utterances.iter().map(stem).collect();
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let name = |stem: String| {
        let number = seen.entry(stem.clone()).or_default();
        *number += 1;
        if *number == 1 {
            return stem;
        }
        // A file may have `#2` in its own name.
        while plain.contains(&format!("{stem}#{number}")) {
            *number += 1;
        }
        format!("{stem}#{number}")
    };
    utterances.iter().map(stem).map(name).collect()
}

/// Reads recordings in their order, in threads, ahead of the device.
pub(super) struct Ahead {
    shared: Arc<Shared>,
}

struct Shared {
    recordings: Vec<Recording>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Recordings that a thread has begun to read.
    begun: usize,
    /// Recordings that were processed.
    taken: usize,
    ready: BTreeMap<usize, Result<Audio>>,
    /// Samples of those that are ready.
    samples: usize,
    ended: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        let woken = self.changed.wait_timeout(state, GLANCE);
        woken.unwrap_or_else(PoisonError::into_inner).0
    }

    fn work(&self) {
        let mut state = self.lock();
        loop {
            let at = state.begun;
            if state.ended || at == self.recordings.len() {
                return;
            }
            let full = at - state.taken >= MOST_AHEAD || state.samples >= MOST_SAMPLES;
            if full && at > state.taken {
                state = self.wait(state);
                continue;
            }
            state.begun += 1;
            drop(state);
            let read = read(&self.recordings[at]);
            state = self.lock();
            state.samples += read.as_ref().map_or(0, |audio| audio.samples.len());
            state.ready.insert(at, read);
            self.changed.notify_all();
        }
    }
}

fn read(recording: &Recording) -> Result<Audio> {
    let work = || {
        let audio = recording.read()?;
        check_length(audio.samples.len(), audio.seconds())?;
        Ok(audio)
    };
    // A thread that ends without its recording would be waited for.
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err(Error::file(recording.to_string(), "cannot be decoded; please report it")))
}

impl Ahead {
    /// Begins to read.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start(recordings: Vec<Recording>) -> Result<Self> {
        let threads =
            std::thread::available_parallelism().map_or(1, std::num::NonZero::get).div_ceil(2).min(4);
        let shared = Arc::new(Shared { recordings, state: Mutex::default(), changed: Condvar::new() });
        for _ in 0..threads {
            let worker = shared.clone();
            let thread = std::thread::Builder::new().name("audio".to_owned()).spawn(move || worker.work());
            thread.map_err(|error| Error::invalid(format!("no thread can be started: {error}")))?;
        }
        Ok(Self { shared })
    }

    /// The next recording and its number, once it is read; [`Error::Interrupted`] in its place where that is asked for
    /// meanwhile.
    pub fn next(&mut self) -> Option<(usize, Result<Audio>)> {
        self.next_if(|_| true)
    }

    /// The next recordings together: as many as have no more than `most` samples, or one. A recording that comes
    /// through a pipe is alone, since others would wait for who fills it.
    pub fn group(&mut self, most: usize) -> Vec<(usize, Result<Audio>)> {
        let mut group: Vec<(usize, Result<Audio>)> = self.next().into_iter().collect();
        let mut samples: usize = group.iter().map(|(_, read)| length(read)).sum();
        while let Some(&(last, _)) = group.last() {
            let pipe = |at: usize| self.shared.recordings.get(at).is_some_and(is_pipe);
            if group.len() == GROUP || pipe(last) || pipe(last + 1) {
                break;
            }
            let Some(next) = self.next_if(|read| samples + length(read) <= most) else { break };
            samples += length(&next.1);
            group.push(next);
        }
        group
    }

    /// The next recording, if there is one and it fits.
    fn next_if(&mut self, fits: impl Fn(&Result<Audio>) -> bool) -> Option<(usize, Result<Audio>)> {
        let mut state = self.shared.lock();
        let at = state.taken;
        if at == self.shared.recordings.len() {
            return None;
        }
        while !state.ready.contains_key(&at) {
            if interrupted() {
                return Some((at, Err(Error::Interrupted)));
            }
            state = self.shared.wait(state);
        }
        if !state.ready.get(&at).is_some_and(fits) {
            return None;
        }
        let read = state.ready.remove(&at)?;
        state.taken += 1;
        state.samples -= length(&read);
        self.shared.changed.notify_all();
        Some((at, read))
    }
}

fn length(read: &Result<Audio>) -> usize {
    read.as_ref().map_or(0, |audio| audio.samples.len())
}

/// Whether the recording is neither in memory nor in a file that can be read at any time.
fn is_pipe(recording: &Recording) -> bool {
    recording.place == Place::Stdin
        || recording.path().is_some_and(|path| path.metadata().is_ok_and(|file| !file.is_file()))
}

impl Drop for Ahead {
    /// Threads end by themselves; one that waits for a pipe would not be worth waiting for.
    fn drop(&mut self) {
        self.shared.lock().ended = true;
        self.shared.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(paths: &[&str]) -> Vec<Utterance> {
        paths.iter().map(|path| alone(Recording::file(*path), Path::new(path))).collect()
    }

    #[test]
    fn equal_stems_are_numbered() {
        assert_eq!(stems(&files(&["a/x.wav", "b.flac", "b/x.mp3", "x.wav"])), ["x", "b", "x#2", "x#3"]);
        assert_eq!(stems(&files(&["x.wav", "a/x.wav", "x#2.wav"])), ["x", "x#3", "x#2"]);
        assert_eq!(stems(&files(&["a.b.wav"])), ["a.b"]);
    }

    #[test]
    fn errors_name_the_manifests_line_once() {
        let mut utterance = files(&["a.wav"]).remove(0);
        let error = || Error::file("a.wav", "is empty");
        assert_eq!(about(&utterance, error()).to_string(), "a.wav: is empty");
        utterance.origin = "m.jsonl:3".to_owned();
        assert_eq!(about(&utterance, error()).to_string(), "a.wav (m.jsonl:3): is empty");
        assert_eq!(about(&utterance, Error::invalid("is odd")).to_string(), "a.wav (m.jsonl:3): is odd");
    }

    #[test]
    fn recordings_come_in_order_and_in_groups_that_fit() {
        let folder = tempfile::tempdir().unwrap();
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus/flac/test-en-us-m7-00.flac");
        let absent = folder.path().join("absent.wav");
        let recordings: Vec<Recording> =
            (0..45).map(|at| Recording::file(if at % 10 == 3 { &absent } else { &corpus })).collect();
        let samples = recordings[0].read().unwrap().samples.len();
        let mut ahead = Ahead::start(recordings).unwrap();
        let (mut seen, mut sizes) = (Vec::new(), Vec::new());
        loop {
            let group = ahead.group(4 * samples);
            if group.is_empty() {
                break;
            }
            assert!(group.iter().filter(|(_, read)| read.is_ok()).count() <= 4);
            sizes.push(group.len());
            seen.extend(group.into_iter().map(|(at, read)| (at, read.is_ok())));
        }
        assert_eq!(seen, (0..45).map(|at| (at, at % 10 != 3)).collect::<Vec<_>>());
        assert_eq!(sizes[..2], [5, 4]);
        // A recording that is longer than the bound is alone.
        let mut ahead = Ahead::start(vec![Recording::file(&corpus); 2]).unwrap();
        assert_eq!(ahead.group(1).len(), 1);
        // The rest is not waited for.
        drop(ahead);
    }
}
