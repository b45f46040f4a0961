//! What one row of a batch hears: a whole recording, a window of a long one, or short clips strung together.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::left_out::LeftOut;
use super::manifest::Corpus;
use crate::audio::SAMPLE_RATE;
use crate::error::{Error, Result};
use crate::rng::{Rng, stream};

/// A manifest's duration may differ this much from the file's before the file counts as wrong (20 ms).
pub(super) const TOLERANCE: usize = 320;

/// How recordings become examples. Stringing and cutting are for unlabelled data only.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ExampleConfig {
    /// Shorter examples are left out (seconds, silence not counted).
    pub min_seconds: f64,
    /// Longer examples are left out (seconds, silence not counted).
    pub max_seconds: Option<f64>,
    /// Longer recordings are cut into windows of this many seconds; the last overlaps the one before.
    pub window_seconds: Option<f64>,
    /// Shorter recordings of one speaker are strung together, in random order, to exactly this many
    /// seconds; those without a speaker stay alone.
    pub string_seconds: Option<f64>,
    /// Seconds of silence between clips that are strung together.
    pub string_gap_seconds: f64,
}

/// A part of a recording.
#[derive(Debug, Clone, PartialEq)]
pub struct Segment {
    /// Index in the corpus.
    pub utterance: usize,
    /// Zero samples before the part.
    pub gap: usize,
    /// First sample, at 16 kHz.
    pub start: usize,
    /// Length in samples at 16 kHz; `None`: to the end of the file, however long it is.
    pub samples: Option<usize>,
}

/// Parts of recordings, one after the other.
#[derive(Debug, Clone, PartialEq)]
pub struct Example {
    /// At least one part.
    pub segments: Vec<Segment>,
    /// Expected length in samples at 16 kHz.
    pub samples: usize,
}

/// The examples of a corpus, and what was left out.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Examples {
    /// In an order that depends on the corpus, the settings and the seed alone.
    pub list: Vec<Example>,
    /// Examples below `min_seconds`.
    pub too_short: usize,
    /// Examples above `max_seconds`.
    pub too_long: usize,
    /// Recordings that could not be read.
    pub unreadable: Vec<LeftOut>,
}

fn samples_of(seconds: f64) -> usize {
    (seconds * f64::from(SAMPLE_RATE)).round() as usize
}

impl ExampleConfig {
    /// Checks values that come from a recipe.
    ///
    /// # Errors
    /// When a value is no positive number of seconds; the message names the key.
    pub fn check(&self) -> Result<()> {
        let smallest = 0.01;
        for (key, seconds) in [
            ("max_seconds", self.max_seconds),
            ("window_seconds", self.window_seconds),
            ("string_seconds", self.string_seconds),
        ] {
            if let Some(seconds) = seconds.filter(|s| !(*s >= smallest && s.is_finite())) {
                return Err(Error::invalid(format!("{key} = {seconds}: give at least {smallest} seconds")));
            }
        }
        if !(self.string_gap_seconds >= 0.0 && self.string_gap_seconds.is_finite()) {
            let message = format!("string_gap_seconds = {}: give 0 or more seconds", self.string_gap_seconds);
            return Err(Error::invalid(message));
        }
        if !(self.min_seconds >= 0.0 && self.min_seconds <= self.max_seconds.unwrap_or(f64::MAX)) {
            let message = format!("min_seconds = {}: give seconds from 0 to max_seconds", self.min_seconds);
            return Err(Error::invalid(message));
        }
        Ok(())
    }
}

impl Example {
    /// The whole recording `utterance`, of about `samples` samples.
    pub fn whole(utterance: usize, samples: usize) -> Self {
        Self { segments: vec![Segment { utterance, gap: 0, start: 0, samples: None }], samples }
    }

    /// Expected duration in seconds.
    pub fn seconds(&self) -> f64 {
        self.samples as f64 / f64::from(SAMPLE_RATE)
    }

    /// The most samples that the example's file may have without being wrong.
    pub(super) fn longest(&self) -> usize {
        match self.segments.last() {
            Some(Segment { samples: None, .. }) => self.samples + TOLERANCE,
            _ => self.samples,
        }
    }

    /// The example's wave; `read` gives the 16 kHz wave of a recording of the corpus.
    pub(super) fn wave(
        &self,
        corpus: &Corpus,
        read: &mut dyn FnMut(usize) -> Result<Arc<Vec<f32>>>,
    ) -> Result<Vec<f32>> {
        let mut wave = Vec::with_capacity(self.longest());
        for segment in &self.segments {
            wave.resize(wave.len() + segment.gap, 0.0);
            let recording = read(segment.utterance)?;
            let end = segment.samples.map_or(recording.len(), |samples| segment.start + samples);
            let (start, present) = (segment.start.min(recording.len()), end.min(recording.len()));
            wave.extend_from_slice(&recording[start..present]);
            if end > recording.len() + TOLERANCE || wave.len() > self.longest() {
                let utterance = &corpus.utterances[segment.utterance];
                let (origin, seconds) = (&utterance.origin, recording.len() as f64 / f64::from(SAMPLE_RATE));
                let message = format!(
                    "lasts {seconds:.3} s, which is not the duration that {origin} gives; correct it"
                );
                return Err(Error::file(utterance.audio.to_string(), message));
            }
            wave.resize(wave.len() + end - present, 0.0);
        }
        Ok(wave)
    }
}

impl Examples {
    /// Makes the examples. Recordings without a duration have theirs read from the file.
    ///
    /// # Errors
    /// When the settings are wrong, when `strict` and a file cannot be read, or when nothing is left.
    pub fn build(corpus: &Corpus, config: &ExampleConfig, seed: u32, strict: bool) -> Result<Self> {
        config.check()?;
        let mut examples = Self::default();
        let mut short: BTreeMap<&str, Vec<(usize, usize)>> = BTreeMap::new();
        let (window, string) = (config.window_seconds.map(samples_of), config.string_seconds.map(samples_of));
        let mut candidates = Vec::new();
        for (index, utterance) in corpus.utterances.iter().enumerate() {
            let seconds = match utterance.duration.map_or_else(|| utterance.audio.duration(), Ok) {
                Ok(seconds) => seconds,
                Err(error) if strict => return Err(error),
                Err(error) => {
                    examples.unreadable.push(LeftOut::new(utterance, error));
                    continue;
                }
            };
            let samples = samples_of(seconds);
            match (&utterance.speaker, string, window) {
                (Some(speaker), Some(target), _) if samples < target => {
                    short.entry(speaker).or_default().push((index, samples));
                }
                (_, _, Some(window)) if samples > window => {
                    candidates.extend(windows(index, samples, window))
                }
                _ => candidates.push(Example::whole(index, samples)),
            }
        }
        for (speaker, mut clips) in short {
            Rng::new(&[seed, stream("string"), stream(speaker)]).shuffle(&mut clips);
            let gap = samples_of(config.string_gap_seconds);
            candidates.extend(strings(&clips, gap, string.unwrap_or(usize::MAX)));
        }
        for example in candidates {
            if example.samples < samples_of(config.min_seconds) {
                examples.too_short += 1;
            } else if config.max_seconds.is_some_and(|most| example.samples > samples_of(most)) {
                examples.too_long += 1;
            } else {
                examples.list.push(example);
            }
        }
        if examples.list.is_empty() {
            return Err(Error::invalid(format!(
                "no example is left of {} recordings: {} are too short, {} too long, {} unreadable; \
                 change min_seconds, max_seconds or the data",
                corpus.utterances.len(),
                examples.too_short,
                examples.too_long,
                examples.unreadable.len()
            )));
        }
        Ok(examples)
    }

    /// Total duration in hours.
    pub fn hours(&self) -> f64 {
        self.list.iter().map(Example::seconds).sum::<f64>() / 3600.0
    }
}

/// Windows of exactly `window` samples; the last ends where the recording does, and overlaps the one before.
fn windows(utterance: usize, samples: usize, window: usize) -> impl Iterator<Item = Example> {
    (0..samples).step_by(window).map(move |start| {
        let start = start.min(samples - window);
        let segment = Segment { utterance, gap: 0, start, samples: Some(window) };
        Example { segments: vec![segment], samples: window }
    })
}

/// Consecutive stretches of exactly `target` samples over the clips `(utterance, samples)`, each after a
/// gap of silence; the last stretch goes on with the first clips again. Clips that are less than `target`
/// together make one.
fn strings(clips: &[(usize, usize)], gap: usize, target: usize) -> Vec<Example> {
    let clips: Vec<_> = clips.iter().filter(|&&(_, samples)| samples > 0).collect();
    let total: usize = clips.iter().map(|&(_, samples)| gap + samples).sum();
    let target = target.min(total);
    let mut parts = clips.into_iter().cycle();
    // What is left of the clip at hand: (utterance, gap, start, samples).
    let mut current: Option<(usize, usize, usize, usize)> = None;
    let mut stretch = || {
        let (mut segments, mut missing) = (Vec::new(), target);
        while missing > 0 {
            let next = current
                .take()
                .or_else(|| parts.next().map(|&(utterance, samples)| (utterance, gap, 0, samples)));
            let Some((utterance, gap, start, left)) = next else { break };
            let silent = gap.min(missing);
            let taken = left.min(missing - silent);
            segments.push(Segment { utterance, gap: silent, start, samples: Some(taken) });
            missing -= silent + taken;
            current = (left > taken).then_some((utterance, gap - silent, start + taken, left - taken));
        }
        Example { segments, samples: target }
    };
    (0..total.div_ceil(target.max(1))).map(|_| stretch()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::Recording;
    use crate::data::Utterance;

    fn corpus(clips: &[(&str, f64)]) -> Corpus {
        let utterance = |(i, &(speaker, seconds)): (usize, &(&str, f64))| Utterance {
            audio: Recording::file(format!("{i}.wav")),
            duration: Some(seconds),
            text: None,
            speaker: (!speaker.is_empty()).then(|| speaker.to_string()),
            label: None,
            origin: format!("m.jsonl:{}", i + 1),
        };
        Corpus { utterances: clips.iter().enumerate().map(utterance).collect() }
    }

    #[test]
    fn whole_recordings_within_the_limits() {
        let corpus = corpus(&[("a", 0.5), ("a", 2.0), ("", 9.0)]);
        let config = ExampleConfig { min_seconds: 1.0, max_seconds: Some(5.0), ..Default::default() };
        let examples = Examples::build(&corpus, &config, 1, true).expect("examples");
        assert_eq!(examples.list, [Example::whole(1, 32_000)]);
        assert_eq!((examples.too_short, examples.too_long), (1, 1));
        let config = ExampleConfig { min_seconds: 10.0, ..Default::default() };
        let message = Examples::build(&corpus, &config, 1, true).expect_err("nothing left").to_string();
        assert!(message.contains("3 are too short"), "{message}");
    }

    #[test]
    fn long_recordings_are_cut() {
        let config = ExampleConfig { min_seconds: 0.5, window_seconds: Some(4.0), ..Default::default() };
        let examples =
            Examples::build(&corpus(&[("a", 9.0), ("b", 4.2)]), &config, 1, true).expect("examples");
        let parts: Vec<_> =
            examples.list.iter().map(|e| (e.segments[0].utterance, e.segments[0].start, e.samples)).collect();
        assert_eq!(
            parts,
            [(0, 0, 64_000), (0, 64_000, 64_000), (0, 80_000, 64_000), (1, 0, 64_000), (1, 3200, 64_000)]
        );
    }

    #[test]
    fn short_clips_of_one_speaker_are_strung_together() {
        let clips: Vec<_> = (0..20)
            .map(|i| (["a", "b"][i % 2], 0.3 + 0.01 * i as f64))
            .chain([("", 0.5), ("a", 5.0)])
            .collect();
        let corpus = corpus(&clips);
        let config = ExampleConfig { string_seconds: Some(1.0), ..Default::default() };
        let build = |seed| Examples::build(&corpus, &config, seed, true).expect("examples");
        let examples = build(3);
        // 3.9 s of a, 4.0 s of b, the clip without a speaker and the long one.
        assert_eq!(examples.list.len(), 4 + 4 + 2);
        let mut heard = vec![0; 20];
        for example in &examples.list[2..] {
            assert_eq!(example.samples, 16_000);
            assert_eq!(example.segments.iter().filter_map(|s| s.samples).sum::<usize>(), 16_000);
            let speaker = |s: &Segment| s.utterance % 2;
            assert!(example.segments.iter().all(|s| speaker(s) == speaker(&example.segments[0])));
            example.segments.iter().for_each(|s| heard[s.utterance] += s.samples.unwrap_or(0));
        }
        assert!((0..20).all(|i| heard[i] >= samples_of(clips[i].1)), "{heard:?}");
        assert_eq!(examples, build(3));
        assert_ne!(examples, build(4));
        // With gaps: 7.9 s of a, 8 s of b; each clip whole, and every gap before its first sample.
        let config = ExampleConfig { string_gap_seconds: 0.4, ..config };
        let examples = Examples::build(&corpus, &config, 3, true).expect("examples");
        assert_eq!(examples.list.len(), 8 + 8 + 2);
        let mut heard = vec![(0, 0); 20];
        for example in &examples.list[2..] {
            let wave = example.wave(&corpus, &mut |i| Ok(Arc::new(vec![1.0; samples_of(clips[i].1)])));
            assert_eq!(wave.expect("wave").len(), 16_000);
            for segment in &example.segments {
                heard[segment.utterance].0 += segment.gap;
                heard[segment.utterance].1 += segment.samples.unwrap_or(0);
                assert!(segment.gap == 0 || segment.start == 0);
            }
        }
        assert!((0..20).all(|i| heard[i].0 >= 6400 && heard[i].1 >= samples_of(clips[i].1)), "{heard:?}");
        let config = ExampleConfig { string_seconds: Some(60.0), ..Default::default() };
        let examples = Examples::build(&corpus, &config, 3, true).expect("examples");
        assert_eq!(examples.list.iter().map(|e| e.segments.len()).collect::<Vec<_>>(), [1, 11, 10]);
    }

    #[test]
    fn files_that_are_not_as_long_as_they_should_be_are_errors() {
        let corpus = corpus(&[("a", 1.0)]);
        let wave =
            |example: &Example, length| example.wave(&corpus, &mut |_| Ok(Arc::new(vec![0.5; length])));
        let whole = Example::whole(0, 16_000);
        assert_eq!(wave(&whole, 15_000).expect("shorter is harmless").len(), 15_000);
        assert_eq!(wave(&whole, 16_100).expect("rounding").len(), 16_100);
        assert!(wave(&whole, 17_000).expect_err("too long").to_string().contains("m.jsonl:1"));
        let cut = Example {
            segments: vec![Segment { utterance: 0, gap: 0, start: 8000, samples: Some(8000) }],
            samples: 8000,
        };
        assert_eq!(wave(&cut, 15_900).expect("rounding").len(), 8000);
        assert_eq!(wave(&cut, 20_000).expect("longer is harmless").len(), 8000);
        assert!(wave(&cut, 15_000).is_err() && wave(&cut, 10).is_err());
    }

    #[test]
    fn wrong_settings_are_named() {
        for (config, key) in [
            (ExampleConfig { string_seconds: Some(0.0), ..Default::default() }, "string_seconds"),
            (ExampleConfig { string_gap_seconds: -1.0, ..Default::default() }, "string_gap_seconds"),
            (ExampleConfig { window_seconds: Some(f64::NAN), ..Default::default() }, "window_seconds"),
            (ExampleConfig { min_seconds: 3.0, max_seconds: Some(2.0), ..Default::default() }, "min_seconds"),
        ] {
            assert!(config.check().expect_err("wrong").to_string().contains(key));
        }
    }
}
