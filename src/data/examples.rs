//! The audio of one row of a batch: a whole recording, a window of a long one, or short clips concatenated.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::left_out::{Exclusions, LeftOut, Why};
use super::lengths::{Lengths, TOLERANCE_SECONDS};
use super::manifest::{Corpus, Utterance};
use super::strings::{Clip, Strings};
use crate::audio::{HOP, SAMPLE_RATE};
use crate::error::{Error, Result};
use crate::rng::stream;

/// Samples by which a length that a header gives may be off, through the rounding of another rate.
const ROUNDING: usize = 16;

/// How recordings become examples. Windows, and strings that are not of whole clips, part clips from their texts.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ExampleConfig {
    /// Shorter examples are left out (seconds, silence not counted).
    pub min_seconds: f64,
    /// Longer examples are left out (seconds, silence not counted).
    pub max_seconds: Option<f64>,
    /// Longer recordings are cut into windows of this many seconds; the last overlaps the one before.
    pub window_seconds: Option<f64>,
    /// Shorter recordings of one speaker are concatenated, in random order, to this many seconds; those without a
    /// speaker stay alone.
    pub string_seconds: Option<f64>,
    /// Shortest and longest silence between clips that are concatenated, in seconds.
    pub string_gap_seconds: [f64; 2],
    /// Whether they stay whole, for clips with texts: strings then have any length up to `string_seconds`, and are drawn
    /// anew in every epoch. Otherwise they have exactly that length.
    pub string_whole: bool,
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
    /// Length in samples at 16 kHz, as expected.
    pub samples: usize,
    /// Whether it goes to the end of the file, however long that is.
    pub open: bool,
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
    /// Those of the first epoch, in an order that depends on the corpus, its lengths, the settings and the seed alone.
    pub list: Vec<Example>,
    /// Recordings that are in no example.
    pub left_out: Exclusions,
    /// Samples below which a waveform is left out.
    pub(super) least: usize,
    /// What is drawn anew in every epoch, and how many examples before it are the same in all.
    pub(super) redrawn: Option<(usize, Strings)>,
}

/// The audio of the recordings of an example.
#[derive(Debug, Default)]
pub(super) struct ExampleAudio {
    /// 16 kHz, mono.
    pub waveform: Vec<f32>,
    /// The recordings that it has, as indices in the corpus.
    pub parts: Vec<usize>,
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
        let [low, high] = self.string_gap_seconds;
        if !(low >= 0.0 && low <= high && high.is_finite()) {
            let message =
                format!("string_gap_seconds = [{low}, {high}]: give 0 or more seconds, the fewer first");
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
        let segments = vec![Segment { utterance, gap: 0, start: 0, samples, open: true }];
        Self { segments, samples, stated: false }
    }

    /// Expected duration in seconds.
    pub fn seconds(&self) -> f64 {
        seconds_of(self.samples)
    }

    /// The samples that a batch has room for.
    pub(super) fn longest(&self) -> usize {
        self.samples + self.segments.iter().filter(|part| part.open).count() * slack(self.stated)
    }

    /// The example's waveform; `read` gives the 16 kHz waveform of a recording of the corpus.
    ///
    /// In a stretch of clips, those that can be read come again in the place of one that cannot; a string of whole clips
    /// goes on without it.
    pub(super) fn waveform(
        &self,
        corpus: &Corpus,
        read: &mut dyn FnMut(usize) -> Result<Arc<Vec<f32>>>,
    ) -> ExampleAudio {
        let mut audio =
            ExampleAudio { waveform: Vec::with_capacity(self.longest()), ..ExampleAudio::default() };
        let several = self.segments.len() > 1;
        for segment in &self.segments {
            let &Segment { utterance, gap, start, samples, open } = segment;
            let recording = match read(utterance) {
                Ok(recording) => recording,
                Err(error) => {
                    audio.refused.push(Refused { why: Why::Unreadable, utterance, error });
                    continue;
                }
            };
            let (length, expected) = (recording.len(), start + samples);
            if several
                && open
                && let Some(refused) = self.part_refused(segment, length, corpus)
            {
                audio.refused.push(refused);
                continue;
            }
            audio.parts.push(utterance);
            audio.waveform.resize(audio.waveform.len() + gap, 0.0);
            let end = if open { length } else { expected };
            audio.waveform.extend_from_slice(&recording[start.min(length)..end.min(length)]);
            // A recording that goes on behind a window or a stretch of it is as it should be.
            let differs = if open { expected.abs_diff(length) } else { expected.saturating_sub(length) };
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
        if several && good > 0 && self.segments.iter().all(|part| !part.open) {
            for at in good..self.samples {
                audio.waveform.push(audio.waveform[at - good]);
            }
        }
        audio
    }

    /// Why a whole clip of `length` samples is not in its string, if it is not.
    fn part_refused(&self, part: &Segment, length: usize, corpus: &Corpus) -> Option<Refused> {
        let (why, cause) = match length {
            ..HOP => (Why::TooShort, "which is no frame of 10 ms".to_owned()),
            _ if length > part.samples + slack(self.stated) => {
                let expected = seconds_of(part.samples);
                let cause = format!(
                    "for which a string of clips planned for {expected:.3} s has no room; correct its duration in the \
                     manifest"
                );
                (Why::TooLong, cause)
            }
            _ => return None,
        };
        let reason = format!("lasts {:.4} s, {cause}", seconds_of(length));
        let error = Error::file(corpus.utterances[part.utterance].audio.to_string(), reason);
        Some(Refused { why, utterance: part.utterance, error })
    }
}

/// Samples by which an expected length may be off; more of one that is the manifest's word alone.
pub(super) fn slack(stated: bool) -> usize {
    if stated { samples_of(TOLERANCE_SECONDS) } else { ROUNDING }
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
        Self::build_joining(corpus, lengths, config, seed, &|_| true)
    }

    /// As [`Examples::build`], where only clips that `joins` accepts are concatenated.
    ///
    /// # Errors
    /// As for [`Examples::build`].
    pub fn build_joining(
        corpus: &Corpus,
        lengths: &Lengths,
        config: &ExampleConfig,
        seed: u32,
        joins: &dyn Fn(&Utterance) -> bool,
    ) -> Result<Self> {
        config.check()?;
        let least = samples_of(config.min_seconds).max(HOP);
        let mut examples = Self { least: least.saturating_sub(ROUNDING), ..Self::default() };
        let mut short: BTreeMap<&str, Vec<Clip>> = BTreeMap::new();
        let (window, mut target) =
            (config.window_seconds.map(samples_of), config.string_seconds.map(samples_of));
        if config.string_whole {
            target = target.min(config.max_seconds.map(samples_of).or(target));
        }
        let (mut candidates, mut any_stated) = (Vec::new(), false);
        for (index, (utterance, length)) in corpus.utterances.iter().zip(&lengths.list).enumerate() {
            let length = match length {
                Ok(length) => length,
                Err(error) => {
                    examples.left_out.add(Why::Unreadable, LeftOut::refused(utterance, error));
                    continue;
                }
            };
            let (samples, stated) = (samples_of(length.seconds), !length.own);
            // Which clips are left out does not depend on the epoch: a whole one that is too short joins none.
            let joins =
                |target| samples < target && (!config.string_whole || samples >= least) && joins(utterance);
            match (&utterance.speaker, target, window) {
                (Some(speaker), Some(target), _) if joins(target) => {
                    short.entry(speaker).or_default().push(Clip { utterance: index, samples });
                    any_stated |= stated;
                }
                (_, _, Some(window)) if samples > window => {
                    candidates.extend(windows(index, samples, window))
                }
                _ => candidates.push(Example { stated, ..Example::whole(index, samples) }),
            }
        }
        let strings = Strings {
            speakers: short.into_iter().map(|(speaker, clips)| (stream(speaker), clips)).collect(),
            target: target.unwrap_or(usize::MAX),
            gap: config.string_gap_seconds.map(samples_of),
            stated: any_stated,
            seed,
        };
        if !config.string_whole {
            candidates.extend(strings.stretches());
        }
        examples.admit(candidates, corpus, config, least);
        if config.string_whole && !strings.speakers.is_empty() {
            let same = examples.list.len();
            examples.list.extend(strings.whole(0));
            examples.redrawn = Some((same, strings));
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

    /// Adds those of `candidates` that are neither too short nor too long.
    fn admit(&mut self, candidates: Vec<Example>, corpus: &Corpus, config: &ExampleConfig, least: usize) {
        for example in candidates {
            let (why, bound) = match config.max_seconds.filter(|&most| example.samples > samples_of(most)) {
                Some(most) => (Why::TooLong, format!("above max_seconds = {most}")),
                None if example.samples < least => (Why::TooShort, below(config.min_seconds)),
                None => {
                    self.list.push(example);
                    continue;
                }
            };
            for segment in &example.segments {
                let reason = format!("lasts {:.4} s, {bound}", example.seconds());
                self.left_out.add(why, LeftOut::new(&corpus.utterances[segment.utterance], reason));
            }
        }
    }

    /// The examples of an epoch.
    pub fn epoch(&self, epoch: u32) -> Cow<'_, [Example]> {
        match &self.redrawn {
            Some((same, strings)) if epoch > 0 => {
                Cow::Owned([&self.list[..*same], &strings.whole(epoch)].concat())
            }
            _ => Cow::Borrowed(&self.list),
        }
    }

    /// Whether epochs have different examples.
    pub fn differ(&self) -> bool {
        self.redrawn.is_some()
    }

    /// The most samples that a batch needs room for, in any epoch.
    pub(super) fn longest(&self) -> usize {
        let drawn = self.redrawn.as_ref().map_or(0, |(_, strings)| strings.longest());
        self.list.iter().map(Example::longest).max().unwrap_or(0).max(drawn)
    }

    /// A bound of the tokens in the text of an example, in any epoch; `tokens(utterance)` are those of a recording's
    /// text, and another parts two texts.
    pub fn most_tokens(&self, tokens: &dyn Fn(usize) -> usize) -> usize {
        let alone = self.list.iter().flat_map(|example| &example.segments).map(|part| tokens(part.utterance));
        let drawn = self.redrawn.as_ref().map_or(0, |(_, strings)| strings.most_tokens(tokens));
        alone.max().unwrap_or(0).max(drawn)
    }

    /// Why a waveform of `samples` samples, which an example turned out to have, is left out.
    pub(super) fn too_short(&self, corpus: &Corpus, example: &Example, samples: usize) -> Refused {
        let utterance = example.segments.first().map_or(0, |segment| segment.utterance);
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
        let segment = Segment { utterance, gap: 0, start, samples: window, open: false };
        Example { segments: vec![segment], samples: window, stated: false }
    })
}

#[cfg(test)]
#[path = "examples_tests.rs"]
mod tests;
