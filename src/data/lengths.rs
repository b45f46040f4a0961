//! Durations of recordings: from the files' headers where they have them, else from the manifest.

use web_time::Instant;

use super::left_out::LeftOut;
use super::manifest::{Corpus, Utterance};
use crate::audio::Recording;
use crate::error::{Error, Result};

/// Seconds by which a manifest's duration may differ from the file's, either way, before it is named: what
/// rounding to one decimal does.
pub const TOLERANCE_SECONDS: f64 = 0.1;

/// Recordings whose length is read from one header to the next request to stop.
const BLOCK: usize = 512;

/// The length of every recording of a corpus.
#[derive(Debug, Clone, Default)]
pub struct Lengths {
    pub(super) list: Vec<Result<Length>>,
    /// Recordings that are not as long as their manifest says, by more than 0.1 s; their own length counts.
    pub differing: Vec<LeftOut>,
}

/// The length of a recording.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Length {
    pub seconds: f64,
    /// Whether this is the file's own word.
    pub own: bool,
}

impl Lengths {
    /// What the manifest states, nothing read; a recording without a duration is an error here.
    pub fn stated(corpus: &Corpus) -> Self {
        let length = |utterance: &Utterance| match utterance.duration {
            Some(seconds) => Ok(Length { seconds, own: false }),
            None => Err(Error::file(utterance.audio.to_string(), "has no duration in its manifest")),
        };
        Self { list: corpus.utterances.iter().map(length).collect(), differing: Vec::new() }
    }

    /// Reads the headers of WAV and FLAC files, and of all files whose manifest gives no duration.
    ///
    /// `progress(done, total)` is told after every block, and may stop the pass with an error.
    ///
    /// # Errors
    /// When `strict` and a file cannot be read, or what `progress` returns.
    pub fn measure(
        corpus: &Corpus,
        strict: bool,
        progress: &mut dyn FnMut(usize, usize) -> Result<()>,
    ) -> Result<Self> {
        let begun = Instant::now();
        // Opening a file is waiting, not work.
        let threads = 2 * std::thread::available_parallelism().map_or(1, usize::from);
        let (mut lengths, total) = (Self::default(), corpus.utterances.len());
        for block in corpus.utterances.chunks(BLOCK) {
            let parts = block.chunks(block.len().div_ceil(threads));
            let measured = std::thread::scope(|scope| {
                let workers: Vec<_> = parts
                    .map(|part| scope.spawn(move || part.iter().map(length).collect::<Vec<_>>()))
                    .collect();
                workers.into_iter().map(|worker| worker.join()).collect::<Vec<_>>()
            });
            for part in measured {
                let failed = |_| Error::invalid("reading the lengths failed; report this as a defect");
                lengths.list.extend(part.map_err(failed)?);
            }
            progress(lengths.list.len(), total)?;
        }
        tracing::debug!(
            "lengths of {total} recordings, {} by their files, in {:.1} ms",
            lengths.list.iter().filter(|length| length.as_ref().is_ok_and(|length| length.own)).count(),
            begun.elapsed().as_secs_f64() * 1e3
        );
        for (utterance, length) in corpus.utterances.iter().zip(&lengths.list) {
            match (length, utterance.duration) {
                (Err(error), _) if strict => return Err(error.clone()),
                (Ok(length), Some(stated)) if (length.seconds - stated).abs() > TOLERANCE_SECONDS => {
                    let reason = format!(
                        "lasts {:.3} s, not the {stated:.3} s of its manifest; its own length counts",
                        length.seconds
                    );
                    lengths.differing.push(LeftOut::new(utterance, reason));
                }
                _ => {}
            }
        }
        Ok(lengths)
    }
}

fn length(utterance: &Utterance) -> Result<Length> {
    match utterance.duration {
        Some(seconds) if utterance.measured => Ok(Length { seconds, own: true }),
        Some(seconds) if !tells_its_length(&utterance.audio) => Ok(Length { seconds, own: false }),
        _ => Ok(Length { seconds: utterance.audio.duration()?, own: true }),
    }
}

/// Endings of files whose first bytes tell their length; the whole of an MP3 would have to be decoded for it.
const TELLING: [&str; 13] =
    ["wav", "wave", "bwf", "rf64", "w64", "aif", "aiff", "aifc", "au", "snd", "sph", "nist", "flac"];

/// Whether the first bytes of a recording's file tell how long it is.
pub(super) fn tells_its_length(audio: &Recording) -> bool {
    let name = audio.stored_name();
    let ending = name.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase());
    ending.is_some_and(|ending| TELLING.contains(&ending.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_own_length_counts_and_a_differing_one_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let spec = hound::WavSpec {
            channels: 1,
            sample_rate: 8000,
            bits_per_sample: 16,
            sample_format: hound::SampleFormat::Int,
        };
        for (name, samples) in [("a", 8000), ("b", 8000), ("c", 4000)] {
            let mut writer =
                hound::WavWriter::create(folder.path().join(name).with_extension("wav"), spec).unwrap();
            (0..samples).for_each(|i| writer.write_sample(i as i16).unwrap());
            writer.finalize().unwrap();
        }
        let manifest = folder.path().join("m.jsonl");
        let line = |name: &str, seconds: &str| {
            format!("{{\"audio_filepath\": \"{name}\", \"duration\": {seconds}}}\n")
        };
        let lines = [line("a.wav", "1.05"), line("b.wav", "0.95"), line("c.wav", "1.0"), line("d.wav", "1")];
        std::fs::write(&manifest, lines.concat()).unwrap();
        let corpus = Corpus::load(&[&manifest]).unwrap();
        let lengths = Lengths::measure(&corpus, false, &mut |_, _| Ok(())).unwrap();
        let seconds: Vec<Option<f64>> =
            lengths.list.iter().map(|length| length.as_ref().ok().map(|length| length.seconds)).collect();
        assert_eq!(seconds, [Some(1.0), Some(1.0), Some(0.5), None]);
        let [half] = &lengths.differing[..] else { panic!("{:?}", lengths.differing) };
        let text = half.to_string();
        for part in ["c.wav", "0.500 s", "1.000 s", "m.jsonl:3"] {
            assert!(text.contains(part), "{text}");
        }
        let error = Lengths::measure(&corpus, true, &mut |_, _| Ok(())).unwrap_err().to_string();
        assert!(error.contains("d.wav"), "{error}");
        let stop = Lengths::measure(&corpus, false, &mut |_, _| Err(Error::Interrupted));
        assert!(matches!(stop, Err(Error::Interrupted)));
    }
}
