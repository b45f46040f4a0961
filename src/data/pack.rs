//! A corpus as tar archives that are read in sequence, with an index in which each recording has its place.
//!
//! The form is NeMo's of tarred data: `shards.jsonl` has a line a recording, in the order of the corpus, and
//! `audio_0.tar`, `audio_1.tar`, … have the audio. A line says beside it where in the archive its audio begins
//! (`member_start`) and how many bytes it has (`member_bytes`).

use std::collections::{HashMap, HashSet};
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::convert::{OVERSHOOT, flac};
use super::left_out::nothing;
use super::lengths::tells_its_length;
use super::number::number;
use super::{Corpus, LeftOut, Utterance, parallel};
use crate::audio::{Channel, Recording, SAMPLE_RATE};
use crate::error::{Error, Remedy, Result};
use crate::files::{NewFile, NewFolder, about, entries, refused};

/// The file that lists a folder's recordings; a folder with it is a source of data.
pub const INDEX: &str = "shards.jsonl";

/// Recordings that are made ready at a time, on all cores.
const BLOCK: usize = 64;
/// A member begins at a multiple of so many bytes; two blocks of zeros close an archive.
const TAR_BLOCK: u64 = 512;
/// Longer names of files are cut, so that a header holds them.
const LONGEST_NAME: usize = 80;

/// The files that were written.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Packed {
    /// The index.
    pub index: PathBuf,
    /// Its lines.
    pub utterances: usize,
    /// Archives.
    pub shards: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Files in them: a file that several lines name is there once.
    pub files: usize,
    /// How many of these are parts of longer recordings, written as FLAC.
    pub parts: usize,
    /// Parts whose peaks 16 bits cannot hold, so that they are cut off.
    pub clipped: Vec<LeftOut>,
    /// Recordings that could not be read, and why.
    pub left_out: Vec<LeftOut>,
}

/// A line of the index.
#[derive(Serialize)]
struct Line<'a> {
    audio_filepath: &'a str,
    shard_id: usize,
    member_start: u64,
    member_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    duration: Option<f64>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    duration_measured: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    channel: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    speaker: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<&'a str>,
}

/// A file of an archive.
#[derive(Debug, Clone)]
struct Member {
    name: String,
    shard: usize,
    start: u64,
    bytes: u64,
    /// Seconds, where the file itself tells them.
    own: Option<f64>,
    peak: f32,
}

/// The contents of a member of an archive.
enum Content {
    /// The file as it is; its seconds, where it tells them.
    Whole(Option<f64>),
    /// A part of a file as FLAC.
    Part { bytes: Vec<u8>, seconds: f64, peak: f32 },
}

/// Writes `folder/shards.jsonl` and `folder/audio_<n>.tar` of about `shard_bytes` bytes. A recording that is a whole
/// file goes in with its bytes unchanged; a part of one as FLAC, 16 kHz, mono, 16 bits. `done` is called
/// after each file. The folder has its name only when it is whole.
///
/// # Errors
/// When the folder holds something, a file cannot be written, nothing can be read, or `strict` and a recording
/// cannot be read.
pub fn pack(
    corpus: &Corpus,
    folder: &Path,
    shard_bytes: u64,
    strict: bool,
    done: impl Fn() + Sync,
) -> Result<Packed> {
    refuse(folder)?;
    let new = NewFolder::create(folder)?;
    let mut shards = Shards::new(&new, folder, shard_bytes);
    let mut index = BufWriter::new(NewFile::create(&new.aside().join(INDEX))?);
    let of_index = |error: io::Error| refused(&folder.join(INDEX), &error);
    let mut packed = Packed { index: folder.join(INDEX), ..Packed::default() };
    let mut members: HashMap<u64, Result<Member>> = HashMap::new();
    for block in corpus.utterances.chunks(BLOCK) {
        let keys: Vec<u64> = block.iter().map(key).collect();
        let mut seen = HashSet::new();
        let fresh: Vec<usize> = (0..block.len())
            .filter(|&at| !members.contains_key(&keys[at]) && seen.insert(keys[at]))
            .collect();
        let contents = parallel(fresh.len(), |at| content(&block[fresh[at]]));
        for (at, content) in fresh.into_iter().zip(contents) {
            let audio = &block[at].audio;
            let member = match content {
                Ok(content) => shards.add(audio, keys[at], content)?,
                Err(error) => Err(error),
            };
            done();
            match member {
                Err(error) if strict => return Err(error),
                member => _ = members.insert(keys[at], member),
            }
        }
        for (utterance, key) in block.iter().zip(&keys) {
            match &members[key] {
                Ok(member) => {
                    packed.utterances += 1;
                    if member.peak > OVERSHOOT {
                        let reason =
                            format!("peaks at {:.2} of full scale, where 16 bits end at 1", member.peak);
                        packed.clipped.push(LeftOut::new(utterance, reason));
                    }
                    let line = serde_json::to_string(&line(utterance, member));
                    let line = line.map_err(|error| Error::invalid(error.to_string()))?;
                    writeln!(index, "{line}").map_err(of_index)?;
                }
                Err(error) => packed.left_out.push(LeftOut::refused(utterance, error)),
            }
        }
    }
    if packed.utterances == 0 {
        return Err(nothing(&packed.left_out));
    }
    shards.close()?;
    (packed.shards, packed.bytes) = (shards.number, shards.bytes);
    (packed.files, packed.parts) = (shards.files, shards.parts);
    index.into_inner().map_err(|error| of_index(error.into_error()))?.finish()?;
    new.finish()?;
    Ok(packed)
}

/// Refuses a folder that holds something.
fn refuse(folder: &Path) -> Result<()> {
    let present = match about(folder)? {
        None => return Ok(()),
        Some(there) if there.is_dir() => entries(folder)?,
        Some(_) => return Err(Error::file(folder, "is no folder").advise(Remedy::OtherFolder)),
    };
    let Some(entry) = present.first() else { return Ok(()) };
    let name = entry.file_name().unwrap_or_default().to_string_lossy();
    Err(Error::file(folder, format!("holds {name}, and shards need a folder of their own"))
        .advise(Remedy::OtherFolder))
}

/// What stands for the bytes of an utterance: those of a file are there once, whatever part of it is used.
fn key(utterance: &Utterance) -> u64 {
    let audio = &utterance.audio;
    match audio.span {
        Some(_) => number(audio),
        None => number(&Recording { channel: Channel::Mix, ..audio.clone() }),
    }
}

/// Makes an utterance ready for its archive.
fn content(utterance: &Utterance) -> Result<Content> {
    let audio = &utterance.audio;
    if audio.span.is_none() {
        return Ok(Content::Whole(tells_its_length(audio).then(|| audio.duration()).transpose()?));
    }
    let samples = audio.read()?.samples;
    let peak = samples.iter().fold(0.0, |peak: f32, sample| peak.max(sample.abs()));
    let bytes = flac(&samples).map_err(|reason| {
        Error::file(audio.to_string(), format!("cannot be written as FLAC ({reason}); leave it out"))
    })?;
    Ok(Content::Part { bytes, seconds: samples.len() as f64 / f64::from(SAMPLE_RATE), peak })
}

fn line<'a>(utterance: &'a Utterance, member: &'a Member) -> Line<'a> {
    let channel = match utterance.audio.channel {
        // A part is written as it is decoded.
        Channel::Only(channel) if utterance.audio.span.is_none() => Some(channel),
        _ => None,
    };
    Line {
        audio_filepath: &member.name,
        shard_id: member.shard,
        member_start: member.start,
        member_bytes: member.bytes,
        duration: member.own.or(utterance.duration),
        duration_measured: member.own.is_some(),
        channel,
        text: utterance.text.as_deref(),
        speaker: utterance.speaker.as_deref(),
        label: utterance.label.as_deref(),
    }
}

/// The name of a member: a number that no other file has, and behind it that of the file, by which a corpus is known
/// again.
fn name(audio: &Recording, key: u64) -> String {
    let stored = audio.stored_name();
    let file = stored.rsplit(['/', '\\']).next().unwrap_or_default().trim_start_matches('.');
    let file = if file.is_empty() { "audio" } else { file };
    let (stem, ending) = match file.rsplit_once('.') {
        _ if audio.span.is_some() => (file, ".flac".to_owned()),
        Some((stem, ending)) => (stem, format!(".{ending}")),
        None => (file, String::new()),
    };
    let room = LONGEST_NAME.saturating_sub(ending.len());
    let end = (0..=room.min(stem.len())).rev().find(|&end| stem.is_char_boundary(end)).unwrap_or(0);
    let plain = |c: char| if c.is_control() { '_' } else { c };
    format!("{key:016x}/{}{ending}", &stem[..end]).chars().map(plain).collect()
}

/// The archives, one under way.
struct Shards<'a> {
    aside: PathBuf,
    /// The folder as the user knows it.
    folder: &'a Path,
    most: u64,
    tar: Option<tar::Builder<Counted>>,
    /// Archives that were begun.
    number: usize,
    /// Bytes of those that were closed.
    bytes: u64,
    files: usize,
    parts: usize,
}

impl<'a> Shards<'a> {
    fn new(new: &NewFolder, folder: &'a Path, most: u64) -> Self {
        let aside = new.aside().to_path_buf();
        Self { aside, folder, most, tar: None, number: 0, bytes: 0, files: 0, parts: 0 }
    }

    /// Adds a file; within, why it cannot be read.
    ///
    /// # Errors
    /// When an archive cannot be written, or the file ends while it is read.
    fn add(&mut self, audio: &Recording, key: u64, content: Content) -> Result<Result<Member>> {
        match content {
            Content::Whole(own) => match audio.stored() {
                Ok((bytes, reader)) => self.append(audio, key, bytes, reader, own, 0.0).map(Ok),
                Err(error) => Ok(Err(error)),
            },
            Content::Part { bytes, seconds, peak } => {
                self.parts += 1;
                self.append(audio, key, bytes.len() as u64, bytes.as_slice(), Some(seconds), peak).map(Ok)
            }
        }
    }

    fn append(
        &mut self,
        audio: &Recording,
        key: u64,
        bytes: u64,
        reader: impl Read,
        own: Option<f64>,
        peak: f32,
    ) -> Result<Member> {
        let room = bytes.next_multiple_of(TAR_BLOCK) + 3 * TAR_BLOCK;
        if self.tar.as_ref().is_some_and(|tar| tar.get_ref().count + room > self.most) {
            self.close()?;
        }
        let tar = match &mut self.tar {
            Some(tar) => tar,
            none => {
                let path = self.aside.join(format!("audio_{}.tar", self.number));
                self.number += 1;
                let file = BufWriter::with_capacity(1 << 20, NewFile::create(&path)?);
                none.insert(tar::Builder::new(Counted { file, count: 0 }))
            }
        };
        let name = name(audio, key);
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes);
        header.set_mode(0o644);
        let mut whole = Whole { reader, left: bytes, failed: None };
        if let Err(error) = tar.append_data(&mut header, &name, &mut whole) {
            return Err(match whole.failed {
                Some(reason) => Error::file(audio.to_string(), reason),
                None => refused(&self.folder.join(format!("audio_{}.tar", self.number - 1)), &error),
            });
        }
        self.files += 1;
        let start = tar.get_ref().count - bytes.next_multiple_of(TAR_BLOCK);
        Ok(Member { name, shard: self.number - 1, start, bytes, own, peak })
    }

    /// Closes the archive under way.
    fn close(&mut self) -> Result<()> {
        let Some(tar) = self.tar.take() else { return Ok(()) };
        let path = self.folder.join(format!("audio_{}.tar", self.number - 1));
        let counted = tar.into_inner().map_err(|error| refused(&path, &error))?;
        self.bytes += counted.count;
        counted.file.into_inner().map_err(|error| refused(&path, error.error()))?.finish()
    }
}

/// A file with its length.
struct Counted {
    file: BufWriter<NewFile>,
    count: u64,
}

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.count += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// As many bytes as were promised, or an error.
struct Whole<R> {
    reader: R,
    left: u64,
    /// Why there are fewer.
    failed: Option<String>,
}

impl<R: Read> Read for Whole<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = self.left.min(buffer.len() as u64) as usize;
        if wanted == 0 {
            return Ok(0);
        }
        let read = match self.reader.read(&mut buffer[..wanted]) {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            read => read,
        };
        match read {
            Ok(count) => self.left -= count as u64,
            Err(ref error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(ref error) => {
                self.failed = Some(format!("cannot be read to its end ({error}); fetch it again"))
            }
        }
        read
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use hound::{SampleFormat, WavSpec, WavWriter};
    use tempfile::TempDir;

    use super::*;
    use crate::audio::{Normalization, Padding, Preprocessor};
    use crate::data::{
        Batch, BatchIndex, BatchSize, BucketConfig, ExampleConfig, Examples, FeatureCache, Identity, Lengths,
        Loader, LoaderConfig, Order,
    };

    fn write_wav(path: &Path, rate: u32, channels: u16, frames: usize, pitch: f32) {
        let spec =
            WavSpec { channels, sample_rate: rate, bits_per_sample: 16, sample_format: SampleFormat::Int };
        let mut writer = WavWriter::create(path, spec).expect("a file");
        for i in 0..frames {
            for channel in 0..channels {
                let waveform = (i as f32 * pitch * f32::from(channel + 1)).sin();
                writer.write_sample((8000.0 * waveform) as i16).expect("a sample");
            }
        }
        writer.finalize().expect("a file");
    }

    /// Recordings of several forms: plain ones of several rates, two channels of a file, a part, FLAC, Opus, text of a kind.
    fn data() -> TempDir {
        let folder = TempDir::new().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir(at("b")).expect("a folder");
        let mut lines = Vec::new();
        for i in 0..9 {
            let (rate, name) = ([16_000, 8000, 44_100][i % 3], format!("{i}.wav"));
            write_wav(&at(&name), rate, 1, rate as usize / 4 + 431 * i, 0.05 + 0.01 * i as f32);
            lines
                .push(format!(r#"{{"audio_filepath": "{name}", "text": "t {i}", "speaker": "s{}"}}"#, i % 2));
        }
        write_wav(&at("b/0.wav"), 8000, 2, 5000, 0.2);
        for channel in [1, 2] {
            lines.push(format!(
                r#"{{"audio_filepath": "b/0.wav", "channel": {channel}, "label": "l{channel}", "duration": 0.6}}"#
            ));
        }
        lines.push(
            r#"{"audio_filepath": "0.wav", "offset": 0.05, "duration": 0.15, "text": "part"}"#.to_owned(),
        );
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/audio/fixtures");
        for name in ["tone.flac", "tone.opus"] {
            std::fs::copy(fixtures.join(name), at(name)).expect("a file");
        }
        let seconds = crate::audio::duration(at("tone.opus")).expect("a file");
        lines.push(r#"{"audio_filepath": "tone.flac", "text": "é\"x"}"#.to_owned());
        lines.push(format!(r#"{{"audio_filepath": "tone.opus", "duration": {seconds}}}"#));
        lines.push(r#"{"audio_filepath": "0.wav", "text": "once more"}"#.to_owned());
        std::fs::write(at("m.jsonl"), lines.join("\n")).expect("a file");
        folder
    }

    fn batches(
        corpus: &Arc<Corpus>,
        order: Order,
        (string, whole): (Option<f64>, bool),
    ) -> (Vec<Batch>, Identity) {
        let lengths = Lengths::measure(corpus, true, &mut |_, _| Ok(())).expect("lengths");
        let settings = ExampleConfig {
            string_seconds: string,
            string_gap_seconds: [0.01, 0.1],
            string_whole: whole,
            window_seconds: Some(0.3).filter(|_| !whole),
            ..ExampleConfig::default()
        };
        let examples = Arc::new(Examples::build(corpus, &lengths, &settings, 3).expect("examples"));
        let preprocessor = Preprocessor::new(0.1, Normalization::Sentence, Padding::Masked);
        let buckets = BucketConfig { batch: BatchSize::Seconds(1.0), buckets: 3, group_by_length: true };
        let config =
            LoaderConfig { threads: 2, strict: true, ..LoaderConfig::new(preprocessor, buckets, order, 5) };
        let cache = Arc::new(FeatureCache::new(0));
        let mut loader = Loader::start(Arc::clone(corpus), examples, cache, config, BatchIndex::default())
            .expect("a loader");
        // Over the end of the first epoch.
        let count = match order {
            Order::Shuffled => loader.batches_per_epoch() + 5,
            Order::Sorted => usize::MAX,
        };
        let all = std::iter::from_fn(|| loader.next()).take(count).map(|batch| batch.expect("a batch"));
        (all.collect(), Identity::of(corpus, &lengths))
    }

    #[test]
    fn shards_give_the_batches_of_the_files() {
        let folder = data();
        let source = folder.path().join("m.jsonl");
        let files = Arc::new(Corpus::load(&[&source]).expect("a manifest"));
        let out = folder.path().join("shards");
        let packed = pack(&files, &out, 30_000, true, || {}).expect("shards");
        assert!((3..12).contains(&packed.shards), "{packed:?}");
        assert_eq!((packed.utterances, packed.files, packed.parts), (15, 13, 1));
        let mut bytes = 0;
        for shard in 0..packed.shards {
            let tar = out.join(format!("audio_{shard}.tar"));
            bytes += tar.metadata().expect("a shard").len();
            // Others read them too.
            let listed = Corpus::load(&[&tar]).expect("an archive");
            assert!(!listed.utterances.is_empty());
        }
        assert_eq!(bytes, packed.bytes);
        for source in [out.clone(), out.join(INDEX)] {
            let shards = Arc::new(Corpus::load(&[source]).expect("shards"));
            let told = |corpus: &Corpus| -> Vec<_> {
                let of = |u: &Utterance| (u.text.clone(), u.speaker.clone(), u.label.clone());
                corpus.utterances.iter().map(of).collect()
            };
            assert_eq!(told(&files), told(&shards));
            assert_eq!(files.utterances[10].audio.channel, shards.utterances[10].audio.channel);
            for (order, string) in [
                (Order::Sorted, (None, false)),
                (Order::Shuffled, (None, false)),
                (Order::Shuffled, (Some(0.35), false)),
                (Order::Shuffled, (Some(1.5), true)),
            ] {
                let ((of_files, one), (of_shards, other)) =
                    (batches(&files, order, string), batches(&shards, order, string));
                assert!(of_files.len() > 4 && of_files == of_shards, "{order:?}, {string:?}");
                assert_eq!(
                    (one.recordings, one.seconds, one.texts),
                    (other.recordings, other.seconds, other.texts)
                );
            }
        }
        // Bytes are those of the files, and what is packed of shards is the same.
        let shards = Corpus::load(&[&out]).expect("shards");
        let stored = |corpus: &Corpus, at: usize| {
            let (length, mut reader) = corpus.utterances[at].audio.stored().expect("bytes");
            let mut bytes = Vec::new();
            reader.read_to_end(&mut bytes).expect("bytes");
            assert_eq!(bytes.len() as u64, length);
            bytes
        };
        for at in (0..15).filter(|&at| at != 11) {
            assert!(stored(&files, at) == stored(&shards, at), "{at}");
        }
        let again = pack(&shards, &folder.path().join("again"), u64::MAX, true, || {}).expect("shards");
        assert_eq!((again.utterances, again.files, again.parts, again.shards), (15, 13, 0, 1));
    }

    #[test]
    fn a_corpus_of_whole_files_is_known_again() {
        let folder = data();
        let source = folder.path().join("m.jsonl");
        let mut files = Corpus::load(&[&source]).expect("a manifest");
        files.utterances.retain(|utterance| utterance.audio.span.is_none());
        let out = folder.path().join("shards");
        pack(&files, &out, 100_000, true, || {}).expect("shards");
        let shards = Corpus::load(&[&out]).expect("shards");
        let of = |corpus: &Corpus| {
            Identity::of(corpus, &Lengths::measure(corpus, true, &mut |_, _| Ok(())).expect("lengths"))
        };
        assert_eq!(of(&files), of(&shards));
    }

    #[test]
    fn what_is_not_whole_is_no_folder_of_shards() {
        let folder = data();
        let at = |name: &str| folder.path().join(name);
        let mut corpus = Corpus::load(&[at("m.jsonl")]).expect("a manifest");
        let gone = Utterance::new(Recording::file(at("gone.mp3")), "m.jsonl:99".to_owned());
        corpus.utterances.push(gone);
        let out = at("shards");
        let left = || std::fs::read_dir(folder.path()).expect("a folder").count();
        let before = left();
        let error = pack(&corpus, &out, 30_000, true, || {}).expect_err("a file is gone").to_string();
        assert!(error.contains("gone.mp3"), "{error}");
        assert!(!out.exists());
        assert_eq!(left(), before);
        let packed = pack(&corpus, &out, 30_000, false, || {}).expect("shards");
        assert_eq!((packed.utterances, packed.left_out.len(), left()), (15, 1, before + 1));
        assert_eq!(packed.left_out[0].origin, "m.jsonl:99");
        // What is there stays.
        let index = std::fs::read(out.join(INDEX)).expect("an index");
        let refused =
            |folder: &Path| pack(&corpus, folder, 1, false, || {}).expect_err("refused").to_string();
        assert!(refused(&out).contains("holds "), "{}", refused(&out));
        assert!(refused(&at("0.wav")).contains("is no folder"));
        assert_eq!(std::fs::read(out.join(INDEX)).expect("an index"), index);
        // Archives that are absent, another's or cut short are named by the line.
        let failure = || Corpus::load(&[&out]).expect_err("damaged").to_string();
        let (first, second) = (out.join("audio_0.tar"), out.join("audio_1.tar"));
        let bytes = std::fs::read(&first).expect("a shard");
        std::fs::copy(&second, &first).expect("a shard");
        assert!(failure().contains("shards.jsonl:1: says that "), "{}", failure());
        std::fs::write(&first, &bytes[..2000]).expect("a shard");
        assert!(failure().contains("which ends at 2000"), "{}", failure());
        std::fs::remove_file(&first).expect("a shard");
        assert!(failure().contains("shards.jsonl:1: is in shard 0"), "{}", failure());
        // A file that ends early leaves nothing under the name.
        let mut short = Whole { reader: &b"abc"[..], left: 5, failed: None };
        assert!(io::copy(&mut short, &mut io::sink()).is_err() && short.failed.is_some());
    }

    #[test]
    fn names_are_short_and_plain() {
        let of = |path: &str, span| name(&Recording { span, ..Recording::file(path) }, 0x1f);
        assert_eq!(of("a/b.WAV", None), "000000000000001f/b.WAV");
        assert_eq!(of("a/.b\u{1}.wav", None), "000000000000001f/b_.wav");
        let span = Some(crate::audio::Span { start: 1.0, seconds: None });
        assert_eq!(of("a/b.mp3", span), "000000000000001f/b.mp3.flac");
        let long = of(&format!("{}.wav", "é".repeat(99)), None);
        assert!(long.len() <= 97 && long.ends_with("é.wav"), "{long}");
        assert_eq!(of("a/..", None), "000000000000001f/audio");
    }
}
