//! The audio of one row of a batch: a whole recording, a window of a long one, or short clips concatenated.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::left_out::{Exclusions, LeftOut, Why};
use super::lengths::{Lengths, TOLERANCE_SECONDS};
use super::manifest::Corpus;
use crate::audio::{HOP, SAMPLE_RATE};
use crate::error::{Error, Result};
use crate::rng::{Rng, stream};

/// Samples by which a length that a header gives may be off, through the rounding of another rate.
const ROUNDING: usize = 16;

/// How recordings become examples. Concatenation and windows are for unlabeled data only.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ExampleConfig {
    /// Shorter examples are left out (seconds, silence not counted).
    pub min_seconds: f64,
    /// Longer examples are left out (seconds, silence not counted).
    pub max_seconds: Option<f64>,
    /// Longer recordings are cut into windows of this many seconds; the last overlaps the one before.
    pub window_seconds: Option<f64>,
    /// Shorter recordings of one speaker are concatenated, in random order, to exactly this many
    /// seconds; those without a speaker stay alone.
    pub string_seconds: Option<f64>,
    /// Seconds of silence between clips that are concatenated.
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
    /// Whether the length is the manifest's word alone, which may be off by 0.1 s.
    pub stated: bool,
}

/// The examples of a corpus, and what was left out.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Examples {
    /// In an order that depends on the corpus, its lengths, the settings and the seed alone.
    pub list: Vec<Example>,
    /// Recordings that are in no example.
    pub left_out: Exclusions,
    /// Samples below which a waveform is left out.
    pub(super) least: usize,
}

/// The audio of the recordings of an example.
#[derive(Debug, Default)]
pub(super) struct ExampleAudio {
    /// 16 kHz, mono.
    pub waveform: Vec<f32>,
    /// Parts that gave nothing.
    pub refused: Vec<Refused>,
    /// Recordings that are not as long as was expected.
    pub differing: Vec<LeftOut>,
}

/// A recording that gave nothing.
#[derive(Debug)]
pub(super) struct Refused {
    pub why: Why,
    /// Index in the corpus.
    pub utterance: usize,
    pub error: Error,
}

fn samples_of(seconds: f64) -> usize {
    (seconds * f64::from(SAMPLE_RATE)).round() as usize
}

fn seconds_of(samples: usize) -> f64 {
    samples as f64 / f64::from(SAMPLE_RATE)
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
    /// The whole recording `utterance`, of `samples` samples.
    pub fn whole(utterance: usize, samples: usize) -> Self {
        let segments = vec![Segment { utterance, gap: 0, start: 0, samples: None }];
        Self { segments, samples, stated: false }
    }

    /// Expected duration in seconds.
    pub fn seconds(&self) -> f64 {
        seconds_of(self.samples)
    }

    /// The samples that a batch has room for.
    pub(super) fn longest(&self) -> usize {
        let slack = if self.stated { samples_of(TOLERANCE_SECONDS) } else { ROUNDING };
        match self.segments.last() {
            Some(Segment { samples: None, .. }) => self.samples + slack,
            _ => self.samples,
        }
    }

    /// The example's waveform; `read` gives the 16 kHz waveform of a recording of the corpus.
    ///
    /// Where clips are concatenated, those that can be read come again in the place of one that cannot.
    pub(super) fn waveform(
        &self,
        corpus: &Corpus,
        read: &mut dyn FnMut(usize) -> Result<Arc<Vec<f32>>>,
    ) -> ExampleAudio {
        let mut audio =
            ExampleAudio { waveform: Vec::with_capacity(self.longest()), ..ExampleAudio::default() };
        for &Segment { utterance, gap, start, samples } in &self.segments {
            let recording = match read(utterance) {
                Ok(recording) => recording,
                Err(error) => {
                    audio.refused.push(Refused { why: Why::Unreadable, utterance, error });
                    continue;
                }
            };
            audio.waveform.resize(audio.waveform.len() + gap, 0.0);
            let (length, end) = (recording.len(), samples.map_or(recording.len(), |samples| start + samples));
            audio.waveform.extend_from_slice(&recording[start.min(length)..end.min(length)]);
            let expected = samples.map_or(self.samples, |samples| start + samples);
            // A recording that goes on behind a window or a stretch of it is as it should be.
            let differs = match samples {
                None => expected.abs_diff(length),
                Some(_) => expected.saturating_sub(length),
            };
            if differs > samples_of(TOLERANCE_SECONDS) {
                let reason = format!(
                    "lasts {:.3} s, not the {:.3} s that its manifest or header promises; its own length counts",
                    seconds_of(length),
                    seconds_of(expected)
                );
                audio.differing.push(LeftOut::new(&corpus.utterances[utterance], reason));
            }
        }
        let good = audio.waveform.len();
        if self.segments.len() > 1 && good > 0 {
            for at in good..self.samples {
                audio.waveform.push(audio.waveform[at - good]);
            }
        }
        audio
    }
}

impl Refused {
    /// By name.
    pub fn left_out(&self, corpus: &Corpus) -> LeftOut {
        LeftOut::refused(&corpus.utterances[self.utterance], &self.error)
    }
}

impl Examples {
    /// Makes the examples.
    ///
    /// # Errors
    /// When the settings are wrong, or nothing is left.
    pub fn build(corpus: &Corpus, lengths: &Lengths, config: &ExampleConfig, seed: u32) -> Result<Self> {
        config.check()?;
        let least = samples_of(config.min_seconds).max(HOP);
        let mut examples = Self { least: least.saturating_sub(ROUNDING), ..Self::default() };
        let mut short: BTreeMap<&str, Vec<(usize, usize)>> = BTreeMap::new();
        let (window, target) = (config.window_seconds.map(samples_of), config.string_seconds.map(samples_of));
        let mut candidates = Vec::new();
        for (index, (utterance, length)) in corpus.utterances.iter().zip(&lengths.list).enumerate() {
            let length = match length {
                Ok(length) => length,
                Err(error) => {
                    examples.left_out.add(Why::Unreadable, LeftOut::refused(utterance, error));
                    continue;
                }
            };
            let samples = samples_of(length.seconds);
            match (&utterance.speaker, target, window) {
                (Some(speaker), Some(target), _) if samples < target => {
                    short.entry(speaker).or_default().push((index, samples));
                }
                (_, _, Some(window)) if samples > window => {
                    candidates.extend(windows(index, samples, window))
                }
                _ => candidates.push(Example { stated: !length.own, ..Example::whole(index, samples) }),
            }
        }
        for (speaker, mut clips) in short {
            Rng::new(&[seed, stream("string"), stream(speaker)]).shuffle(&mut clips);
            let gap = samples_of(config.string_gap_seconds);
            candidates.extend(concatenated(&clips, gap, target.unwrap_or(usize::MAX)));
        }
        for example in candidates {
            let (why, bound) = match config.max_seconds.filter(|&most| example.samples > samples_of(most)) {
                Some(most) => (Why::TooLong, format!("above max_seconds = {most}")),
                None if example.samples < least => (Why::TooShort, below(config.min_seconds)),
                None => {
                    examples.list.push(example);
                    continue;
                }
            };
            for segment in &example.segments {
                let reason = format!("lasts {:.4} s, {bound}", example.seconds());
                examples.left_out.add(why, LeftOut::new(&corpus.utterances[segment.utterance], reason));
            }
        }
        if examples.list.is_empty() {
            let first = examples.left_out.iter().next().map(|(_, first)| format!("; the first: {first}"));
            return Err(Error::invalid(format!(
                "nothing is left of {} recordings: {}; change min_seconds, max_seconds or the data{}",
                corpus.utterances.len(),
                examples.left_out,
                first.unwrap_or_default()
            )));
        }
        Ok(examples)
    }

    /// Why a waveform of `samples` samples, which example `at` turned out to have, is left out.
    pub(super) fn too_short(&self, corpus: &Corpus, at: usize, samples: usize) -> Refused {
        let utterance = self.list[at].segments.first().map_or(0, |segment| segment.utterance);
        let reason =
            format!("lasts {:.4} s, {}", seconds_of(samples), below(seconds_of(self.least + ROUNDING)));
        let error = Error::file(corpus.utterances[utterance].audio.to_string(), reason);
        Refused { why: Why::TooShort, utterance, error }
    }

    /// Total duration in hours.
    pub fn hours(&self) -> f64 {
        self.list.iter().map(Example::seconds).sum::<f64>() / 3600.0
    }
}

fn below(min_seconds: f64) -> String {
    match samples_of(min_seconds) > HOP {
        true => format!("below min_seconds = {min_seconds}"),
        false => "which is no frame of 10 ms".to_owned(),
    }
}

/// Windows of exactly `window` samples; the last ends where the recording does, and overlaps the one before.
fn windows(utterance: usize, samples: usize, window: usize) -> impl Iterator<Item = Example> {
    (0..samples).step_by(window).map(move |start| {
        let start = start.min(samples - window);
        let segment = Segment { utterance, gap: 0, start, samples: Some(window) };
        Example { segments: vec![segment], samples: window, stated: false }
    })
}

/// Consecutive stretches of exactly `target` samples over the clips `(utterance, samples)`, each after a
/// gap of silence; the last stretch goes on with the first clips again. Clips that are less than `target`
/// together make one.
fn concatenated(clips: &[(usize, usize)], gap: usize, target: usize) -> Vec<Example> {
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
        Example { segments, samples: target, stated: false }
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
            measured: false,
            text: None,
            speaker: (!speaker.is_empty()).then(|| speaker.to_string()),
            label: None,
            origin: format!("m.jsonl:{}", i + 1),
        };
        Corpus { utterances: clips.iter().enumerate().map(utterance).collect() }
    }

    fn build(corpus: &Corpus, config: &ExampleConfig, seed: u32) -> Result<Examples> {
        Examples::build(corpus, &Lengths::stated(corpus), config, seed)
    }

    #[test]
    fn whole_recordings_within_the_limits() {
        let corpus = corpus(&[("a", 0.5), ("a", 2.0), ("", 9.0)]);
        let config = ExampleConfig { min_seconds: 1.0, max_seconds: Some(5.0), ..Default::default() };
        let examples = build(&corpus, &config, 1).expect("examples");
        assert_eq!(examples.list, [Example { stated: true, ..Example::whole(1, 32_000) }]);
        assert_eq!(examples.left_out.to_string(), "1 too short, 1 too long");
        let named: Vec<String> = examples.left_out.iter().map(|(_, one)| one.to_string()).collect();
        assert!(named[0].contains("0.wav: lasts 0.5000 s") && named[0].contains("m.jsonl:1"), "{named:?}");
        assert!(named[1].contains("max_seconds = 5") && named[1].contains("m.jsonl:3"), "{named:?}");
        let config = ExampleConfig { min_seconds: 10.0, ..Default::default() };
        let message = build(&corpus, &config, 1).expect_err("nothing left").to_string();
        assert!(message.contains("3 too short") && message.contains("m.jsonl:1"), "{message}");
    }

    #[test]
    fn long_recordings_are_cut() {
        let config = ExampleConfig { min_seconds: 0.5, window_seconds: Some(4.0), ..Default::default() };
        let examples = build(&corpus(&[("a", 9.0), ("b", 4.2)]), &config, 1).expect("examples");
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
        let examples = build(&corpus, &config, 3).expect("examples");
        // 3.9 s of a, 4.0 s of b, the clip without a speaker and the long one.
        assert_eq!(examples.list.len(), 4 + 4 + 2);
        let mut audio = vec![0; 20];
        for example in &examples.list[2..] {
            assert_eq!(example.samples, 16_000);
            assert_eq!(example.segments.iter().filter_map(|s| s.samples).sum::<usize>(), 16_000);
            let speaker = |s: &Segment| s.utterance % 2;
            assert!(example.segments.iter().all(|s| speaker(s) == speaker(&example.segments[0])));
            example.segments.iter().for_each(|s| audio[s.utterance] += s.samples.unwrap_or(0));
        }
        assert!((0..20).all(|i| audio[i] >= samples_of(clips[i].1)), "{audio:?}");
        assert_eq!(examples, build(&corpus, &config, 3).expect("examples"));
        assert_ne!(examples, build(&corpus, &config, 4).expect("examples"));
        // With gaps: 7.9 s of a, 8 s of b; each clip whole, and every gap before its first sample.
        let config = ExampleConfig { string_gap_seconds: 0.4, ..config };
        let examples = build(&corpus, &config, 3).expect("examples");
        assert_eq!(examples.list.len(), 8 + 8 + 2);
        let mut audio = vec![(0, 0); 20];
        for example in &examples.list[2..] {
            let waveform =
                example.waveform(&corpus, &mut |i| Ok(Arc::new(vec![1.0; samples_of(clips[i].1)])));
            assert_eq!(
                (waveform.waveform.len(), waveform.refused.len(), waveform.differing.len()),
                (16_000, 0, 0)
            );
            for segment in &example.segments {
                audio[segment.utterance].0 += segment.gap;
                audio[segment.utterance].1 += segment.samples.unwrap_or(0);
                assert!(segment.gap == 0 || segment.start == 0);
            }
        }
        assert!((0..20).all(|i| audio[i].0 >= 6400 && audio[i].1 >= samples_of(clips[i].1)), "{audio:?}");
        let config = ExampleConfig { string_seconds: Some(60.0), ..Default::default() };
        let examples = build(&corpus, &config, 3).expect("examples");
        assert_eq!(examples.list.iter().map(|e| e.segments.len()).collect::<Vec<_>>(), [1, 11, 10]);
    }

    #[test]
    fn the_own_length_of_a_file_counts() {
        let corpus = corpus(&[("a", 1.0)]);
        let waveform =
            |example: &Example, length| example.waveform(&corpus, &mut |_| Ok(Arc::new(vec![0.5; length])));
        let whole = Example { stated: true, ..Example::whole(0, 16_000) };
        for (length, differing) in [(14_000, 1), (14_500, 0), (17_500, 0), (18_000, 1)] {
            let audio = waveform(&whole, length);
            assert_eq!((audio.waveform.len(), audio.differing.len()), (length, differing));
        }
        let text = waveform(&whole, 18_000).differing[0].to_string();
        for part in ["0.wav", "m.jsonl:1", "1.125 s", "1.000 s"] {
            assert!(text.contains(part), "{text}");
        }
        let segment = Segment { utterance: 0, gap: 0, start: 8000, samples: Some(8000) };
        let cut = Example { segments: vec![segment], samples: 8000, stated: false };
        for (length, left, differing) in [(20_000, 8000, 0), (15_900, 7900, 0), (10_000, 2000, 1), (10, 0, 1)]
        {
            let audio = waveform(&cut, length);
            assert_eq!((audio.waveform.len(), audio.differing.len()), (left, differing));
        }
    }

    #[test]
    fn one_bad_clip_of_a_string_is_replaced_by_the_others() {
        let corpus = corpus(&[("a", 1.0), ("a", 0.5), ("a", 0.25)]);
        let clips = [16_000, 8000, 4000];
        let segment = |utterance| Segment { utterance, gap: 0, start: 0, samples: Some(clips[utterance]) };
        let example = Example { segments: (0..3).map(segment).collect(), samples: 28_000, stated: false };
        let audio = example.waveform(&corpus, &mut |i| match i {
            0 => Err(Error::file("0.wav", "is damaged")),
            _ => Ok(Arc::new(vec![i as f32; clips[i]])),
        });
        let [bad] = &audio.refused[..] else { panic!("{:?}", audio.refused) };
        assert_eq!((bad.why, bad.left_out(&corpus).origin.as_str()), (Why::Unreadable, "m.jsonl:1"));
        assert_eq!(audio.waveform.len(), 28_000);
        let once: Vec<f32> = [vec![1.0; 8000], vec![2.0; 4000]].concat();
        assert!((0..28_000).all(|at| audio.waveform[at] == once[at % 12_000]));
        let none = example.waveform(&corpus, &mut |_| Err(Error::file("0.wav", "is damaged")));
        assert_eq!((none.waveform.len(), none.refused.len()), (0, 3));
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
