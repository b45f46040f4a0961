//! A corpus of any kind as NeMo's JSON lines with 16 kHz FLAC files.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use web_time::SystemTime;

use flacenc::bitsink::ByteSink;
use flacenc::component::BitRepr;
use flacenc::error::Verify;
use serde::{Deserialize, Serialize};

use super::left_out::nothing;
use super::number::number;
use super::{Corpus, LeftOut, Utterance, parallel};
use crate::audio::{Recording, SAMPLE_RATE};
use crate::error::{Error, Remedy, Result};
use crate::files::{about, clean, entries, is_file, read, write_whole};

const MANIFEST: &str = "manifest.jsonl";
const AUDIO: &str = "audio";
/// What says that a folder is a conversion, and of what.
const MARK: &str = "conversion.json";
/// Louder samples than this much over full scale are not the overshoot of a resampler.
pub(super) const OVERSHOOT: f32 = 1.1;

/// Of what a folder is the conversion.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Mark {
    sources: Vec<String>,
}

/// The files that were written.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Converted {
    /// The manifest.
    pub manifest: PathBuf,
    /// Its lines.
    pub utterances: usize,
    /// Their duration in seconds.
    pub audio_seconds: f64,
    /// Files that were there already.
    pub kept: usize,
    /// Recordings of this run whose peaks 16 bits cannot hold, so that they are cut off.
    pub clipped: Vec<LeftOut>,
    /// Recordings that could not be read, and why.
    pub left_out: Vec<LeftOut>,
}

/// A line of the manifest.
#[derive(Serialize)]
struct Line<'a> {
    audio_filepath: String,
    duration: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    speaker: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<&'a str>,
}

/// A file of the conversion.
#[derive(Debug, Clone, Copy)]
struct Written {
    samples: usize,
    kept: bool,
    peak: f32,
}

/// Writes `folder/manifest.jsonl` and `folder/audio/*.flac`, 16 kHz, mono, 16 bits, on all cores. Files that a
/// conversion of the same sources has left there are kept, unless their source is newer; the manifest comes last.
/// `done` is called after each file.
///
/// # Errors
/// When the folder holds something else, a file cannot be written, nothing can be read, or `strict` and a
/// recording cannot be read.
pub fn convert<P: AsRef<Path>>(
    corpus: &Corpus,
    sources: &[P],
    folder: &Path,
    strict: bool,
    done: impl Fn() + Sync,
) -> Result<Converted> {
    let sources = sources.iter().map(|source| source.as_ref().display().to_string()).collect();
    claim(folder, &Mark { sources })?;
    let names = names(corpus);
    // The same part of the same file is written once, by whom comes first.
    let mut owners: HashMap<&str, usize> = HashMap::new();
    for (at, name) in names.iter().enumerate() {
        owners.entry(name).or_insert(at);
    }
    // The first error that ends the work.
    let failure: Mutex<Option<Error>> = Mutex::new(None);
    let failed = || failure.lock().unwrap_or_else(PoisonError::into_inner);
    let files = parallel(names.len(), |at| {
        if owners[names[at].as_str()] != at || failed().is_some() {
            return None;
        }
        let written = write(&corpus.utterances[at].audio, &folder.join(AUDIO).join(&names[at]));
        done();
        match written {
            Ok(written) => Some(Ok(written)),
            Err(Failed::Reading(error)) if !strict => Some(Err(error)),
            Err(Failed::Reading(error) | Failed::Writing(error)) => {
                failed().get_or_insert(error);
                None
            }
        }
    });
    if let Some(error) = failed().take() {
        return Err(error);
    }
    let mut converted = Converted { manifest: folder.join(MANIFEST), ..Converted::default() };
    let mut lines = String::new();
    for (at, (utterance, name)) in corpus.utterances.iter().zip(&names).enumerate() {
        let owner = owners[name.as_str()];
        match files[owner].as_ref() {
            Some(Ok(written)) => {
                let duration = written.samples as f64 / f64::from(SAMPLE_RATE);
                converted.utterances += 1;
                converted.audio_seconds += duration;
                converted.kept += usize::from(written.kept && owner == at);
                if written.peak > OVERSHOOT {
                    let reason =
                        format!("peaks at {:.2} of full scale, where 16 bits end at 1", written.peak);
                    converted.clipped.push(LeftOut::new(utterance, reason));
                }
                let line = Line {
                    audio_filepath: format!("{AUDIO}/{name}"),
                    duration,
                    text: utterance.text.as_deref(),
                    speaker: utterance.speaker.as_deref(),
                    label: utterance.label.as_deref(),
                };
                lines.push_str(
                    &serde_json::to_string(&line).map_err(|error| Error::invalid(error.to_string()))?,
                );
                lines.push('\n');
            }
            Some(Err(error)) => converted.left_out.push(LeftOut::refused(utterance, error)),
            None => {}
        }
    }
    if converted.utterances == 0 {
        return Err(nothing(&converted.left_out));
    }
    write_whole(&converted.manifest, lines.as_bytes())?;
    Ok(converted)
}

/// Makes the folder ready, or refuses one that is not a conversion of the same sources.
fn claim(folder: &Path, mark: &Mark) -> Result<()> {
    let path = folder.join(MARK);
    if is_file(&path)? {
        let of: Option<Mark> = serde_json::from_slice(&read(&path)?).ok();
        return match of {
            Some(of) if of == *mark => Ok(()),
            Some(of) => {
                let message = format!("is the conversion of {}", of.sources.join(", "));
                Err(Error::file(folder, message).advise(Remedy::OtherFolder))
            }
            None => {
                let error = Error::file(&path, "does not say of what this is the conversion");
                Err(error.advise(Remedy::OtherFolder))
            }
        };
    }
    let present = match about(folder)? {
        None => Vec::new(),
        Some(there) if there.is_dir() => entries(folder)?,
        Some(_) => return Err(Error::file(folder, "is no folder").advise(Remedy::OtherFolder)),
    };
    clean(&path)?;
    if let Some(entry) = present.first() {
        let name = entry.file_name().unwrap_or_default().to_string_lossy();
        let error = Error::file(folder, format!("holds {name}, which is of no conversion"));
        return Err(error.advise(Remedy::OtherFolder));
    }
    let json = serde_json::to_vec_pretty(mark).map_err(|error| Error::invalid(error.to_string()))?;
    write_whole(&path, &json)
}

/// The names of the files: that of the recording, and a hash of the place, the part and the channel, so that
/// a name stands for the same samples in every run.
fn names(corpus: &Corpus) -> Vec<String> {
    corpus.utterances.iter().map(name).collect()
}

fn name(utterance: &Utterance) -> String {
    const LONGEST: usize = 80;
    let file = utterance.audio.stored_name();
    let stem = Path::new(&*file).file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let plain = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' };
    let stem: String = stem.trim_start_matches('.').chars().take(LONGEST).map(plain).collect();
    format!("{stem}-{:016x}.flac", number(&utterance.audio))
}

/// Why there is no file.
enum Failed {
    Reading(Error),
    Writing(Error),
}

fn write(audio: &Recording, path: &Path) -> Result<Written, Failed> {
    if let Some(samples) = finished(audio, path) {
        return Ok(Written { samples, kept: true, peak: 0.0 });
    }
    let samples = audio.read().map_err(Failed::Reading)?.samples;
    let peak = samples.iter().fold(0.0, |peak: f32, sample| peak.max(sample.abs()));
    let bytes = flac(&samples).map_err(|reason| {
        Failed::Reading(Error::file(
            audio.to_string(),
            format!("cannot be written as FLAC ({reason}); leave it out"),
        ))
    })?;
    write_whole(path, &bytes).map_err(Failed::Writing)?;
    Ok(Written { samples: samples.len(), kept: false, peak })
}

/// The samples of a file that is there, whole, and not older than what it was made of.
fn finished(audio: &Recording, path: &Path) -> Option<usize> {
    let time = |path: &Path| -> Option<SystemTime> { path.metadata().ok()?.modified().ok() };
    let written = time(path)?;
    if audio.path().and_then(time).is_some_and(|source| source > written) {
        return None;
    }
    let seconds = Recording::file(path).duration().ok()?;
    Some((seconds * f64::from(SAMPLE_RATE)).round() as usize)
}

/// 16 kHz, mono, 16 bits; what is beyond full scale stays at it.
pub(super) fn flac(samples: &[f32]) -> Result<Vec<u8>, String> {
    let pcm: Vec<i32> =
        samples.iter().map(|sample| (sample * 32768.0).round().clamp(-32768.0, 32767.0) as i32).collect();
    let config =
        flacenc::config::Encoder::default().into_verified().map_err(|(_, error)| error.to_string())?;
    let source = flacenc::source::MemSource::from_samples(&pcm, 1, 16, SAMPLE_RATE as usize);
    let mut stream = flacenc::encode_with_fixed_block_size(&config, source, config.block_size)
        .map_err(|error| error.to_string())?;
    // The last block is shorter, and does not count; the library counts it, which decoders refuse.
    stream
        .stream_info_mut()
        .set_block_sizes(config.block_size, config.block_size)
        .map_err(|error| error.to_string())?;
    let mut sink = ByteSink::new();
    stream.write(&mut sink).map_err(|error| error.to_string())?;
    Ok(sink.into_inner())
}

#[cfg(test)]
mod tests {
    use hound::{SampleFormat, WavSpec, WavWriter};

    use super::*;
    use crate::rng::Rng;

    #[test]
    fn flac_has_the_same_samples() {
        let folder = tempfile::TempDir::new().expect("a folder");
        let path = folder.path().join("x.flac");
        // One sample, lengths around a block, silence, full scale, noise, a tone.
        let mut rng = Rng::new(&[1]);
        let noise: Vec<i32> = (0..9000).map(|_| (rng.unit() * 65_535.0) as i32 - 32_768).collect();
        let tone: Vec<i32> = (0..20_000).map(|i| ((f64::from(i) * 0.05).sin() * 20_000.0) as i32).collect();
        let square: Vec<i32> = (0..5000).map(|i| if i % 40 < 20 { -32_768 } else { 32_767 }).collect();
        for length in [1, 2, 15, 16, 17, 4095, 4096, 4097, 9000] {
            for pcm in [&noise, &tone, &square, &vec![0; 9000], &vec![-1; 9000]] {
                let pcm = &pcm[..length.min(pcm.len())];
                let waveform: Vec<f32> = pcm.iter().map(|&x| x as f32 / 32768.0).collect();
                std::fs::write(&path, flac(&waveform).expect("encodes")).expect("a file");
                let read = crate::audio::read(&path).expect("a file that is whole");
                assert!(read.samples == waveform, "{length} samples");
                assert_eq!(read.source_rate, SAMPLE_RATE);
            }
        }
    }

    #[test]
    fn any_corpus_becomes_a_manifest_with_flac() {
        let folder = tempfile::TempDir::new().expect("a folder");
        let file = |name: &str| folder.path().join(name);
        for (at, (name, rate)) in [("a/x.wav", 16_000), ("b/x.wav", 8000)].into_iter().enumerate() {
            std::fs::create_dir_all(file(name).parent().expect("a folder")).expect("a folder");
            let spec = WavSpec {
                channels: 1,
                sample_rate: rate,
                bits_per_sample: 16,
                sample_format: SampleFormat::Int,
            };
            let mut writer = WavWriter::create(file(name), spec).expect("a file");
            (0..rate)
                .for_each(|i| writer.write_sample((i % 100) as i16 * (at as i16 + 1)).expect("a sample"));
            writer.finalize().expect("a file");
        }
        let manifest = file("m.jsonl");
        let lines = [
            r#"{"audio_filepath": "a/x.wav", "text": "one", "speaker": "s", "label": "l"}"#,
            r#"{"audio_filepath": "b/x.wav", "text": "two"}"#,
            r#"{"audio_filepath": "gone.wav", "text": "three"}"#,
            r#"{"audio_filepath": "a/x.wav", "text": "once more"}"#,
        ];
        std::fs::write(&manifest, lines.join("\n")).expect("a file");
        let corpus = Corpus::load(&[&manifest]).expect("a manifest");
        let out = file("out");
        let run = |strict| convert(&corpus, &[&manifest], &out, strict, || {});
        let first = run(false).expect("a conversion");
        assert_eq!((first.utterances, first.kept, first.left_out.len()), (3, 0, 1));
        assert!(first.left_out[0].origin.ends_with("m.jsonl:3"), "{:?}", first.left_out);
        assert_eq!(first.audio_seconds, 3.0);
        let text = std::fs::read_to_string(&first.manifest).expect("a manifest");
        let written = Corpus::load(&[&first.manifest]).expect("a manifest");
        assert_eq!(written.texts().expect("texts"), ["one", "two", "once more"]);
        let [one, two, again] = &written.utterances[..] else { panic!("three lines") };
        assert_eq!(
            (one.speaker.as_deref(), one.label.as_deref(), one.duration),
            (Some("s"), Some("l"), Some(1.0))
        );
        assert_eq!(one.audio, again.audio);
        assert_ne!(one.audio, two.audio, "two files of one name");
        let samples = |path: &Path| crate::audio::read(path).expect("audio").samples;
        assert_eq!(samples(one.audio.path().expect("a file")), samples(&file("a/x.wav")));

        // Again: all that was written is kept, and the manifest is the same.
        std::fs::remove_file(two.audio.path().expect("a file")).expect("a file");
        let second = run(false).expect("a conversion");
        assert_eq!((second.utterances, second.kept), (3, 1));
        assert_eq!(std::fs::read_to_string(&second.manifest).expect("a manifest"), text);
        assert!(run(true).expect_err("a file is gone").to_string().contains("gone.wav"));
        // Other folders are left alone.
        let refused = |folder: &Path, source: &Path| {
            convert(&corpus, &[source], folder, false, || {}).expect_err("refused").to_string()
        };
        assert!(refused(&out, Path::new("other")).contains("is the conversion of"));
        assert!(refused(&file("a"), &manifest).contains("holds x.wav"));
        assert!(!file("a/manifest.jsonl").exists());
    }
}
