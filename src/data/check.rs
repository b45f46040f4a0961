//! The contents of a corpus and its defects, found by decoding everything once.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};

use serde::Serialize;

use super::lengths::TOLERANCE_SECONDS;
use super::number::number;
use super::{Corpus, LeftOut, Utterance, parallel};
use crate::audio::{Audio, SAMPLE_RATE, STRIDE, frame_count};
use crate::error::Error;
use crate::text::{least_frames, normalize};

/// A waveform that stays below is silent (-60 dB).
const SILENT: f32 = 0.001;
/// A sample from here on may have been cut off.
const FULL: f32 = 0.999;
/// So many full samples in a row are a waveform that was cut off: a tone of full scale stays there for less.
const FULL_RUN: usize = 5;
/// Bars of the histogram.
const BARS: usize = 40;

/// A defect of a recording that can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Kind {
    /// Its text needs more encoder frames than it has.
    TooMuchText,
    /// Its manifest gives another duration than its file.
    Duration,
    /// Another line names the same part of the same file.
    SameRecording,
    /// Another recording has the same samples.
    SameAudio,
    /// There is no sound in it.
    Silent,
    /// Its loudest parts are cut off.
    Clipped,
    /// It has no text, while others have.
    NoText,
    /// Warnings of its decoder.
    Doubtful,
}

/// A recording that can be read, and what is the matter with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The defect.
    pub kind: Kind,
    /// The recording's name, as in messages.
    pub audio_filepath: String,
    /// Where it was read: `manifest:line`, or the folder.
    pub origin: String,
    /// One sentence about it.
    pub reason: String,
}

/// Quantiles in seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Quantiles {
    /// The shortest.
    pub min: f64,
    /// One in twenty is shorter.
    pub p5: f64,
    /// One in four is shorter.
    pub p25: f64,
    /// Half are shorter.
    pub median: f64,
    /// Three in four are shorter.
    pub p75: f64,
    /// Nineteen in twenty are shorter.
    pub p95: f64,
    /// The longest.
    pub max: f64,
    /// The mean.
    pub mean: f64,
}

/// A bar of the histogram of lengths.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Bar {
    /// Seconds from which it counts.
    pub from: f64,
    /// Seconds up to which it counts.
    pub to: f64,
    /// Recordings.
    pub count: usize,
}

/// The contents of a corpus. All figures but `left_out` are of the recordings that could be read.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Report {
    /// Recordings that could be read.
    pub utterances: usize,
    /// Their duration.
    pub hours: f64,
    /// Their lengths.
    pub seconds: Quantiles,
    /// How many there are of which length.
    pub histogram: Vec<Bar>,
    /// How many have which sample rate, in Hz.
    pub rates: BTreeMap<u32, usize>,
    /// How many have how many channels.
    pub channels: BTreeMap<usize, usize>,
    /// How many have which ending of their name.
    pub formats: BTreeMap<String, usize>,
    /// Speakers that are named.
    pub speakers: usize,
    /// How many have which label.
    pub labels: BTreeMap<String, usize>,
    /// How many have a text, empty ones included.
    pub texts: usize,
    /// How many of these are empty.
    pub empty_texts: usize,
    /// Words in the texts.
    pub words: usize,
    /// Characters of the texts in lower case, and how often they occur.
    pub alphabet: BTreeMap<char, usize>,
    /// Defects of recordings that could be read.
    pub findings: Vec<Finding>,
    /// Lines and recordings that could not be read, and why.
    pub left_out: Vec<LeftOut>,
}

/// Facts about a recording that was read.
struct Facts {
    samples: usize,
    rate: u32,
    channels: usize,
    content: u64,
    peak: f32,
    clipped: bool,
    notes: Vec<String>,
}

impl Facts {
    fn new(audio: Audio) -> Self {
        let mut hasher = DefaultHasher::new();
        audio.samples.iter().for_each(|sample| sample.to_bits().hash(&mut hasher));
        let peak = audio.samples.iter().fold(0.0, |peak: f32, sample| peak.max(sample.abs()));
        let runs = audio.samples.chunk_by(|a, b| (*a >= FULL && *b >= FULL) || (*a <= -FULL && *b <= -FULL));
        let clipped = runs.filter(|run| run[0].abs() >= FULL).any(|run| run.len() >= FULL_RUN);
        Self {
            samples: audio.samples.len(),
            rate: audio.source_rate,
            channels: audio.channels,
            content: hasher.finish(),
            peak,
            clipped,
            notes: audio.notes,
        }
    }

    fn seconds(&self) -> f64 {
        self.samples as f64 / f64::from(SAMPLE_RATE)
    }
}

/// Reads the whole corpus, on all cores. `broken` are errors of its sources (see [`Corpus::read_with_errors`]);
/// `done` is called after each recording.
pub fn check(corpus: &Corpus, broken: &[Error], done: impl Fn() + Sync) -> Report {
    let results = parallel(corpus.utterances.len(), |at| {
        let result = corpus.utterances[at].audio.read().map(Facts::new);
        done();
        result
    });
    let mut report = Report { left_out: broken.iter().map(line).collect(), ..Report::default() };
    let mut good = Vec::with_capacity(results.len());
    for (utterance, result) in corpus.utterances.iter().zip(results) {
        match result {
            Ok(facts) => good.push((utterance, facts)),
            Err(error) => report.left_out.push(LeftOut::refused(utterance, &error)),
        }
    }
    report.describe(&good);
    report.find(&good);
    report
}

/// A line that is wrong names no recording.
fn line(error: &Error) -> LeftOut {
    let (origin, reason) = match error {
        Error::File { path, message } => (path.clone(), message.clone()),
        other => (String::new(), other.to_string()),
    };
    LeftOut { audio_filepath: String::new(), origin, reason }
}

impl Report {
    /// Findings and what could not be read.
    pub fn problems(&self) -> usize {
        self.findings.len() + self.left_out.len()
    }

    fn describe(&mut self, good: &[(&Utterance, Facts)]) {
        let mut seconds: Vec<f64> = good.iter().map(|(_, facts)| facts.seconds()).collect();
        seconds.sort_by(f64::total_cmp);
        self.utterances = good.len();
        // A sum of nothing is -0.
        self.hours = seconds.iter().fold(0.0, |sum, seconds| sum + seconds) / 3600.0;
        self.seconds = Quantiles::of(&seconds);
        self.histogram = histogram(&seconds);
        let mut speakers = BTreeSet::new();
        for (utterance, facts) in good {
            *self.rates.entry(facts.rate).or_default() += 1;
            *self.channels.entry(facts.channels).or_default() += 1;
            *self.formats.entry(format(utterance)).or_default() += 1;
            speakers.extend(utterance.speaker.as_deref());
            if let Some(label) = &utterance.label {
                *self.labels.entry(label.clone()).or_default() += 1;
            }
            if let Some(text) = utterance.text.as_deref().map(normalize) {
                self.texts += 1;
                self.empty_texts += usize::from(text.is_empty());
                self.words += text.split(' ').filter(|word| !word.is_empty()).count();
                text.chars().for_each(|c| *self.alphabet.entry(c).or_default() += 1);
            }
        }
        self.speakers = speakers.len();
    }

    fn find(&mut self, good: &[(&Utterance, Facts)]) {
        let mut lines: HashMap<u64, &str> = HashMap::new();
        let mut contents: HashMap<(u64, usize), &Utterance> = HashMap::new();
        let labeled = self.texts > 0;
        for (utterance, facts) in good {
            let name = utterance.audio.to_string();
            let mut add = |kind, reason| {
                let (audio_filepath, origin) = (name.clone(), utterance.origin.clone());
                self.findings.push(Finding { kind, audio_filepath, origin, reason });
            };
            match utterance.text.as_deref().map(normalize) {
                None if labeled => add(Kind::NoText, "has no text, while others have".to_owned()),
                None => {}
                Some(text) => {
                    // A character a token.
                    let characters: Vec<char> = text.chars().collect();
                    let count = characters.len();
                    let (needed, frames) =
                        (least_frames(&characters), frame_count(facts.samples).div_ceil(STRIDE));
                    if needed > frames {
                        add(
                            Kind::TooMuchText,
                            format!(
                                "has a text of {count} characters, which need {needed} frames of 40 ms; it has {frames}"
                            ),
                        );
                    }
                }
            }
            if let Some(stated) = utterance.duration {
                let seconds = facts.seconds();
                if (stated - seconds).abs() > TOLERANCE_SECONDS {
                    let reason =
                        format!("lasts {seconds:.3} s, not the {stated:.3} s that its manifest gives");
                    add(Kind::Duration, reason);
                }
            }
            if facts.peak < SILENT {
                add(
                    Kind::Silent,
                    format!("is silent: its loudest sample is {:.6} of full scale", facts.peak),
                );
            }
            if facts.clipped {
                let reason = format!("is clipped: {FULL_RUN} or more samples in a row are at full scale");
                add(Kind::Clipped, reason);
            }
            for note in &facts.notes {
                add(Kind::Doubtful, note.clone());
            }
            if let Some(first) = lines.insert(number(&utterance.audio), &utterance.origin) {
                let reason = format!("is the same recording as that of {first}");
                add(Kind::SameRecording, reason);
            } else if facts.peak >= SILENT {
                let first = contents.entry((facts.content, facts.samples)).or_insert(utterance);
                if !std::ptr::eq(*first, *utterance) {
                    let reason = format!("has the same samples as {} ({})", first.audio, first.origin);
                    add(Kind::SameAudio, reason);
                }
            }
        }
        self.findings.sort_by_key(|finding| finding.kind);
    }
}

/// The ending of a recording's name.
pub(super) fn format(utterance: &Utterance) -> String {
    let name = utterance.audio.stored_name();
    let file = name.rsplit('/').next().unwrap_or_default();
    file.rsplit_once('.')
        .map_or_else(|| "without an ending".to_owned(), |(_, ending)| ending.to_ascii_lowercase())
}

impl Quantiles {
    /// Of lengths in ascending order.
    fn of(sorted: &[f64]) -> Self {
        let Some(last) = sorted.len().checked_sub(1) else { return Self::default() };
        let at = |share: f64| sorted[(share * last as f64).round() as usize];
        Self {
            min: sorted[0],
            p5: at(0.05),
            p25: at(0.25),
            median: at(0.5),
            p75: at(0.75),
            p95: at(0.95),
            max: sorted[last],
            mean: sorted.iter().sum::<f64>() / sorted.len() as f64,
        }
    }
}

/// Bars of equal width, of 1, 2 or 5 tenths, seconds, tens of seconds, …
fn histogram(sorted: &[f64]) -> Vec<Bar> {
    let Some(&longest) = sorted.last() else { return Vec::new() };
    let mut width = 0.1;
    for factor in [2.0, 2.5, 2.0].into_iter().cycle() {
        if longest / width < BARS as f64 {
            break;
        }
        width *= factor;
    }
    let mut bars: Vec<Bar> = (0..=(longest / width) as usize)
        .map(|bar| Bar { from: bar as f64 * width, to: (bar + 1) as f64 * width, count: 0 })
        .collect();
    let last = bars.len() - 1;
    sorted.iter().for_each(|seconds| bars[((seconds / width) as usize).min(last)].count += 1);
    bars
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use hound::{SampleFormat, WavSpec, WavWriter};

    use super::*;

    fn write(path: &std::path::Path, rate: u32, samples: impl IntoIterator<Item = f32>) {
        let spec =
            WavSpec { channels: 1, sample_rate: rate, bits_per_sample: 16, sample_format: SampleFormat::Int };
        let mut writer = WavWriter::create(path, spec).expect("a file");
        samples.into_iter().for_each(|x| writer.write_sample((x * 32767.0) as i16).expect("a sample"));
        writer.finalize().expect("a file");
    }

    #[test]
    fn everything_is_found() {
        let folder = tempfile::TempDir::new().expect("a folder");
        let file = |name: &str| folder.path().join(name);
        let tone = |loudness: f32| (0..16_000).map(move |i| loudness * (i as f32 * 0.1).sin());
        write(&file("good.wav"), 16_000, tone(0.5));
        write(&file("copy.wav"), 16_000, tone(0.5));
        write(&file("loud.wav"), 16_000, tone(2.0).map(|x| x.clamp(-1.0, 1.0)));
        write(&file("full.wav"), 16_000, tone(1.0));
        write(&file("quiet.wav"), 8000, std::iter::repeat_n(0.0, 4000));
        std::fs::write(file("bad.wav"), b"no audio at all").expect("a file");
        let lines = [
            r#"{"audio_filepath": "good.wav", "duration": 1.0, "text": "one TWO", "speaker": "a"}"#,
            r#"{"audio_filepath": "copy.wav", "duration": 1.5, "text": "", "speaker": "b", "label": "x"}"#,
            r#"{"audio_filepath": "loud.wav", "text": "aabbccddeeffgghhii"}"#,
            r#"{"audio_filepath": "quiet.wav", "speaker": "b"}"#,
            r#"{"audio_filepath": "bad.wav", "text": "x"}"#,
            r#"{"text": "no audio"}"#,
            r#"{"audio_filepath": "good.wav", "text": "one two"}"#,
            r#"{"audio_filepath": "full.wav", "text": "one two"}"#,
        ];
        let manifest = file("m.jsonl");
        std::fs::write(&manifest, lines.join("\n")).expect("a file");
        let (corpus, broken) = Corpus::read_with_errors(&[&manifest]).expect("a manifest");
        let calls = AtomicUsize::new(0);
        let report = check(&corpus, &broken, || {
            calls.fetch_add(1, Ordering::Relaxed);
        });
        assert_eq!(calls.into_inner(), 7);
        assert_eq!((report.utterances, report.texts, report.empty_texts, report.words), (6, 5, 1, 7));
        assert_eq!(report.rates, BTreeMap::from([(8000, 1), (16_000, 5)]));
        assert_eq!((report.speakers, report.labels.get("x")), (2, Some(&1)));
        assert_eq!((report.seconds.min, report.seconds.max), (0.5, 1.0));
        assert!((report.hours - 5.5 / 3600.0).abs() < 1e-12);
        assert_eq!(report.alphabet[&'t'], 3);
        assert_eq!(report.histogram.iter().map(|bar| bar.count).sum::<usize>(), 6);
        let of = |kind| -> Vec<String> {
            let all = report.findings.iter().filter(|finding| finding.kind == kind);
            all.map(|finding| finding.origin.rsplit(':').next().unwrap_or_default().to_owned()).collect()
        };
        // 101 feature frames are 26 encoder frames; 9 pairs of letters need 27.
        assert_eq!(of(Kind::TooMuchText), ["3"]);
        assert_eq!(of(Kind::Duration), ["2"]);
        assert_eq!(of(Kind::SameAudio), ["2"]);
        assert_eq!(of(Kind::SameRecording), ["7"]);
        assert_eq!(of(Kind::Silent), ["4"]);
        assert_eq!(of(Kind::NoText), ["4"]);
        assert_eq!(of(Kind::Clipped), ["3"], "a tone that just reaches full scale is whole");
        let left: Vec<&str> =
            report.left_out.iter().map(|l| l.origin.rsplit(':').next().unwrap_or("")).collect();
        assert_eq!(left, ["6", "5"]);
        assert_eq!(report.problems(), 7 + 2);
    }

    #[test]
    fn lengths_and_bars() {
        assert_eq!(Quantiles::of(&[]), Quantiles::default());
        let sorted: Vec<f64> = (0..=100).map(f64::from).collect();
        let lengths = Quantiles::of(&sorted);
        assert_eq!(
            (lengths.min, lengths.p5, lengths.median, lengths.p95, lengths.max),
            (0.0, 5.0, 50.0, 95.0, 100.0)
        );
        let bars = histogram(&sorted);
        assert_eq!((bars.len(), bars[0].count, bars[0].to, bars[20].count), (21, 5, 5.0, 1));
        assert!(histogram(&[]).is_empty());
    }
}
