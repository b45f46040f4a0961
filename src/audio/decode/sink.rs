//! The sink of decoders: selects segment and channel, and resamples to 16 kHz.

use super::{Audio, LONGEST_SECONDS, Outcome, RATES};
use crate::audio::features::SAMPLE_RATE;
use crate::audio::recording::{Channel, Span};
use crate::audio::resample::Resampler;
use crate::audio::waveform::Levels;

/// A part may end this many seconds after the audio does: manifests round.
const SPAN_TOLERANCE: f64 = 0.1;
/// Below this share of the channels' amplitude, their mean is not what they hold.
const CANCELLED: f64 = 0.05;
/// Below this share, the mean has lost enough to be told.
const WEAKENED: f64 = 0.25;
/// Channels quieter than this (squared) are silence, which may cancel.
const SILENT: f64 = 1e-10;

/// Who takes samples as they come, 16 kHz, mono; false when no more are wanted.
pub(super) type Give<'a> = dyn FnMut(Vec<f32>) -> bool + 'a;

/// Takes in decoded frames.
pub(super) struct Sink<'a> {
    channel: Channel,
    span: Option<Span>,
    /// Where samples go, if not to `samples`.
    give: Option<Box<Give<'a>>>,
    samples: Vec<f32>,
    /// Samples at 16 kHz so far.
    made: u64,
    /// Whether more are wanted.
    more: bool,
    stretch: Option<Stretch>,
    /// Seconds of earlier stretches.
    elapsed: f64,
    /// Rate and channels of the first stretch.
    first: Option<(u32, usize)>,
    /// Source samples that were kept.
    kept: u64,
    levels: Levels,
    /// Sums of squares: of the channels (their mean), of their mix.
    power: [f64; 2],
    mono: Vec<f32>,
    notes: Vec<String>,
}

/// Audio of one rate: all of it, but for links of chained streams.
struct Stretch {
    rate: u32,
    channels: usize,
    /// Number of the frame that comes next.
    next: u64,
    /// Frames that are wanted.
    from: u64,
    until: Option<u64>,
    resampler: Resampler,
}

impl<'a> Sink<'a> {
    /// Keeps all samples.
    pub fn new(channel: Channel, span: Option<Span>) -> Self {
        Self {
            channel,
            span,
            give: None,
            samples: Vec::new(),
            made: 0,
            more: true,
            stretch: None,
            elapsed: 0.0,
            first: None,
            kept: 0,
            levels: Levels::default(),
            power: [0.0; 2],
            mono: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// Keeps no samples, and gives them away as they come.
    pub fn giving(channel: Channel, span: Option<Span>, give: impl FnMut(Vec<f32>) -> bool + 'a) -> Self {
        Self { give: Some(Box::new(give)), ..Self::new(channel, span) }
    }

    fn take(&mut self, samples: Vec<f32>) {
        self.made += samples.len() as u64;
        match &mut self.give {
            None => self.samples.extend(samples),
            Some(_) if samples.is_empty() => {}
            Some(give) => self.more = self.more && give(samples),
        }
    }

    /// Begins a stretch.
    ///
    /// # Errors
    /// The message, when rate or channel cannot be had.
    pub fn begin(&mut self, rate: u32, channels: usize) -> Outcome<()> {
        self.end()?;
        check_rate(rate)?;
        if channels == 0 {
            return Err("has no channels; export it again".into());
        }
        if let Channel::Only(wanted) = self.channel
            && (wanted == 0 || wanted > channels)
        {
            let have = if channels == 1 { "1 channel".into() } else { format!("{channels} channels") };
            return Err(format!(
                "has {have}, so channel {wanted} cannot be taken; choose one from 1 to {channels}"
            ));
        }
        let number = |seconds: f64| ((seconds - self.elapsed).max(0.0) * f64::from(rate)).round() as u64;
        let end = self.span.and_then(|span| Some(span.start + span.seconds?));
        self.first.get_or_insert((rate, channels));
        self.stretch = Some(Stretch {
            rate,
            channels,
            next: 0,
            from: self.span.map_or(0, |span| number(span.start)),
            until: end.map(number),
            resampler: Resampler::new(rate, SAMPLE_RATE).map_err(|error| error.to_string())?,
        });
        Ok(())
    }

    fn end(&mut self) -> Outcome<()> {
        if let Some(stretch) = self.stretch.take() {
            self.elapsed += stretch.next as f64 / f64::from(stretch.rate);
            let rest = stretch.resampler.finish().map_err(|error| error.to_string())?;
            self.take(rest);
        }
        Ok(())
    }

    /// Whether this stretch has such a rate and so many channels.
    pub fn is(&self, rate: u32, channels: usize) -> bool {
        self.stretch.as_ref().is_some_and(|stretch| (stretch.rate, stretch.channels) == (rate, channels))
    }

    /// The first frame of this stretch that is wanted, for decoders that can begin there.
    pub fn wanted(&self) -> u64 {
        self.stretch.as_ref().map_or(0, |stretch| stretch.from)
    }

    /// Says that frame number `frame` of this stretch comes next.
    pub fn jump(&mut self, frame: u64) {
        if let Some(stretch) = &mut self.stretch {
            stretch.next = frame;
        }
    }

    pub fn note(&mut self, note: impl Into<String>) {
        let note = note.into();
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    /// Takes in frames, channels interleaved; `float` says whether they may be out of [-1, 1]. False when no
    /// more are wanted.
    ///
    /// # Errors
    /// The message, when the samples are no waveform or too many.
    pub fn push(&mut self, interleaved: &[f32], float: bool) -> Outcome<bool> {
        let Some(stretch) = &mut self.stretch else { return Ok(false) };
        let channels = stretch.channels;
        let frames = (interleaved.len() / channels) as u64;
        let begin = stretch.next;
        stretch.next += frames;
        let seconds = self.elapsed + stretch.next as f64 / f64::from(stretch.rate);
        check_length(seconds)?;
        let end = stretch.until.unwrap_or(u64::MAX).min(stretch.next);
        let start = stretch.from.max(begin);
        let more = stretch.until.is_none_or(|until| stretch.next < until);
        if start >= end {
            return Ok(more);
        }
        let range = (start - begin) as usize * channels..(end - begin) as usize * channels;
        let interleaved = &interleaved[range];
        if float {
            self.levels.push(interleaved, channels)?;
        }
        self.kept += end - start;
        let mono = if channels == 1 {
            interleaved
        } else {
            self.mono.clear();
            mix(interleaved, channels, self.channel, &mut self.mono, &mut self.power);
            &self.mono
        };
        let samples = stretch.resampler.push(mono).map_err(|error| error.to_string())?;
        self.take(samples);
        Ok(more && self.more)
    }

    /// # Errors
    /// The message, when there is nothing, or it is no waveform.
    pub fn finish(mut self) -> Outcome<Audio> {
        self.end()?;
        let (source_rate, channels) = self.first.unwrap_or((SAMPLE_RATE, 1));
        if let Some(span) = self.span {
            check_span(span, self.elapsed)?;
        }
        if self.kept == 0 {
            return Err("holds no audio samples; remove it from the data".into());
        }
        if self.made == 0 {
            let samples = if self.kept == 1 { "1 sample".into() } else { format!("{} samples", self.kept) };
            return Err(format!(
                "holds {samples} at {source_rate} Hz, which is not one at 16 kHz; remove it from the data"
            ));
        }
        self.levels.check()?;
        let [channel_power, mix_power] = self.power;
        if self.channel == Channel::Mix && channel_power > SILENT * self.kept as f64 {
            let share = (mix_power / channel_power).sqrt();
            // What unrelated channels leave of each other does not count: 1/√channels.
            let beside_unrelated =
                share * (f64::from(u32::try_from(channels).unwrap_or(u32::MAX)) / 2.0).sqrt();
            if beside_unrelated < CANCELLED {
                return Err(format!(
                    "has {channels} channels that cancel each other out when averaged (opposite phase): take one, \
                     channel 1 (in a manifest \"channel\": 1)"
                ));
            }
            if beside_unrelated < WEAKENED {
                self.notes.push(format!(
                    "its {channels} channels mostly cancel each other out when averaged, to {:.0} % of their \
                     amplitude; take one, channel 1 (in a manifest \"channel\": 1)",
                    100.0 * share
                ));
            }
        }
        Ok(Audio { samples: self.samples, source_rate, channels, notes: self.notes })
    }
}

/// Appends one channel or the mean of all; adds up their squares.
fn mix(interleaved: &[f32], channels: usize, channel: Channel, mono: &mut Vec<f32>, power: &mut [f64; 2]) {
    if let Channel::Only(number) = channel {
        mono.extend(interleaved.chunks_exact(channels).map(|frame| frame[number - 1]));
        return;
    }
    let share = 1.0 / channels as f32;
    match channels {
        2 => mono.extend(interleaved.chunks_exact(2).map(|frame| (frame[0] + frame[1]) * 0.5)),
        _ => mono.extend(interleaved.chunks_exact(channels).map(|frame| frame.iter().sum::<f32>() * share)),
    }
    power[0] += squares(interleaved) / channels as f64;
    power[1] += squares(mono);
}

fn squares(samples: &[f32]) -> f64 {
    let mut sums = [0f32; 8];
    let mut total = 0.0;
    // Short runs, so that f32 adds up without loss.
    for run in samples.chunks(4096) {
        for part in run.chunks(8) {
            part.iter().zip(&mut sums).for_each(|(sample, sum)| *sum += sample * sample);
        }
        total += sums.iter().map(|&sum| f64::from(sum)).sum::<f64>();
        sums = [0.0; 8];
    }
    total
}

/// # Errors
/// The message, when a part does not lie in audio of `seconds` seconds.
pub(super) fn check_span(span: Span, seconds: f64) -> Outcome<()> {
    let Span { start, seconds: length } = span;
    let end = start + length.unwrap_or(0.0);
    // A decoder that stops at the part's end has not seen more.
    if start >= seconds || end > seconds + SPAN_TOLERANCE {
        let end = if length.is_some() { format!("{start} to {end}") } else { format!("{start} on") };
        return Err(format!(
            "lasts {seconds:.3} s, so its part from {end} s is not there; correct the manifest"
        ));
    }
    Ok(())
}

/// # Errors
/// The message, when the rate is no rate of audio.
pub(super) fn check_rate(rate: u32) -> Outcome<()> {
    if RATES.contains(&rate) {
        return Ok(());
    }
    Err(format!("has a sample rate of {rate} Hz; it must lie between 1 and 768 kHz"))
}

/// # Errors
/// The message, when it is longer than is read.
pub(super) fn check_length(seconds: f64) -> Outcome<()> {
    if seconds <= LONGEST_SECONDS {
        return Ok(());
    }
    Err(format!("is {:.0} hours long; cut it into files of at most 24 hours", seconds / 3600.0))
}
