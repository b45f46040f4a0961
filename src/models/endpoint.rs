//! Endpointing: where a sentence of a stream ends, by the output of the model and the power of the audio.

use super::encoder::STRIDE;
use crate::audio::{HOP, silent_samples};
use crate::text::SECONDS_PER_FRAME;

/// Samples of an encoder frame.
const FRAME: usize = STRIDE * HOP;

/// So many pauses one after the other end a sentence, however loud they are.
const LOUD_PAUSES: f64 = 3.0;

/// Of the power of a sentence's loudest frame, 30 dB less: no frame with less is speech.
const INAUDIBLE: f32 = 1e-3;

/// When a sentence of a stream is over. A chunk ends it where the model has written a word in it and since then
///
/// * nothing for `pause` seconds, which are `quiet_db` quieter than the loudest 40 ms of the sentence,
/// * or nothing for three times as long, however loud,
/// * or where it has lasted `longest` seconds and the chunk's last frame writes nothing,
/// * or where it has lasted twice as long.
///
/// Tokens in a frame that is 30 dB quieter than the loudest one do not count: models that were never trained on
/// silence write in it.
///
/// What follows is transcribed as a stream of its own.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Endpointing {
    /// Seconds, from 0.04 on.
    pub pause: f64,
    /// Decibels, from 0 on: the mean power of the pause below that of the sentence's loudest encoder frame.
    pub quiet_db: f64,
    /// Seconds, from 1 on.
    pub longest: f64,
}

impl Default for Endpointing {
    fn default() -> Self {
        Self { pause: 0.6, quiet_db: 12.0, longest: 20.0 }
    }
}

/// The state of endpointing of a sentence.
#[derive(Debug, Clone, Default)]
pub(super) struct Sentence {
    /// Mean power of each of its encoder frames, as far as samples have come.
    power: Vec<f32>,
    /// Sum and number of the samples of the frame that is not full yet.
    partial: (f64, usize),
    /// Frames that the model has read.
    frames: usize,
    /// The frame after the last one in which it wrote.
    written: Option<usize>,
}

/// The segment that a chunk has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// A sentence.
    Sentence,
    /// A stretch in which nothing was said, as long as a sentence may be.
    Silence,
}

impl Sentence {
    /// The first of a stream, before which `silence` seconds are added.
    pub fn first(silence: f64) -> Self {
        let mut first = Self::default();
        first.push(&vec![0.0; silent_samples(silence)]);
        first
    }

    /// Takes samples.
    pub fn push(&mut self, samples: &[f32]) {
        for sample in samples {
            self.partial.0 += f64::from(sample * sample);
            self.partial.1 += 1;
            if self.partial.1 == FRAME {
                self.power.push((self.partial.0 / FRAME as f64) as f32);
                self.partial = (0.0, 0);
            }
        }
    }

    /// Takes the frames of a chunk: whether the model writes in each.
    pub fn chunk(&mut self, writes: impl IntoIterator<Item = bool>) {
        let least = self.power.iter().copied().fold(0.0, f32::max) * INAUDIBLE;
        for writes in writes {
            let audible = self.power.get(self.frames).is_none_or(|&power| power > least);
            self.frames += 1;
            if writes && audible {
                self.written = Some(self.frames);
            }
        }
    }

    /// Whether something ends with the last chunk.
    pub fn end(&self, rule: &Endpointing) -> Option<End> {
        let seconds = |frames: usize| frames as f64 * SECONDS_PER_FRAME;
        let lasted = seconds(self.frames);
        let Some(written) = self.written else {
            return (lasted >= rule.longest).then_some(End::Silence);
        };
        let pause = seconds(self.frames - written);
        let over = (pause >= rule.pause && self.is_quiet(written, rule.quiet_db))
            || pause >= LOUD_PAUSES * rule.pause
            || (lasted >= rule.longest && written < self.frames)
            || lasted >= 2.0 * rule.longest;
        over.then_some(End::Sentence)
    }

    /// Whether the frames from `written` on are so much quieter than the loudest one.
    fn is_quiet(&self, written: usize, decibels: f64) -> bool {
        // The last frames may have come with samples that are not all there.
        let read = &self.power[..self.frames.min(self.power.len())];
        let pause = read.get(written..).unwrap_or_default();
        let mean = pause.iter().map(|&power| f64::from(power)).sum::<f64>() / pause.len().max(1) as f64;
        let loudest = read.iter().copied().fold(0.0, f32::max);
        mean <= f64::from(loudest) * 10_f64.powf(-decibels / 10.0)
    }

    /// What begins `frames` frames before the last one that was read.
    pub fn next(self, frames: usize) -> Self {
        let begun = self.frames.saturating_sub(frames).min(self.power.len());
        Self { power: self.power[begun..].to_vec(), partial: self.partial, frames: 0, written: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Frames of such amplitude, of which the model writes in some.
    fn push(sentence: &mut Sentence, seconds: f64, amplitude: f32, writes: bool) {
        let frames = (seconds / SECONDS_PER_FRAME).round() as usize;
        sentence.push(&vec![amplitude; frames * FRAME]);
        sentence.chunk(std::iter::repeat_n(writes, frames));
    }

    #[test]
    fn quiet_pauses_end_a_sentence_and_loud_ones_later() {
        let rule = Endpointing::default();
        for (amplitude, least) in [(0.0, 0.6), (0.02, 0.6), (0.2, 1.8)] {
            let mut sentence = Sentence::first(0.0);
            push(&mut sentence, 0.4, 0.01, false);
            push(&mut sentence, 0.8, 0.3, true);
            let mut pause = 0.0_f64;
            while sentence.end(&rule).is_none() {
                push(&mut sentence, 0.04, amplitude, false);
                pause += 0.04;
            }
            assert!((pause - least).abs() < 0.021, "{amplitude}: {pause}");
            assert_eq!(sentence.end(&rule), Some(End::Sentence));
        }
    }

    #[test]
    fn what_is_written_in_silence_does_not_count() {
        let rule = Endpointing::default();
        for (amplitude, ends) in [(0.0, true), (0.005, true), (0.02, false)] {
            let mut sentence = Sentence::first(0.0);
            push(&mut sentence, 0.8, 0.3, true);
            push(&mut sentence, 0.6, amplitude, true);
            assert_eq!(sentence.end(&rule).is_some(), ends, "{amplitude}");
        }
    }

    #[test]
    fn a_pause_within_a_sentence_does_not_count() {
        let rule = Endpointing::default();
        let mut sentence = Sentence::first(0.0);
        for _ in 0..9 {
            push(&mut sentence, 0.4, 0.3, true);
            push(&mut sentence, 0.52, 0.0, false);
            assert_eq!(sentence.end(&rule), None);
        }
    }

    #[test]
    fn nothing_lasts_forever() {
        let rule = Endpointing { longest: 4.0, ..Endpointing::default() };
        let mut silence = Sentence::first(0.1);
        push(&mut silence, 3.96, 0.0, false);
        assert_eq!(silence.end(&rule), None);
        push(&mut silence, 0.04, 0.0, false);
        assert_eq!(silence.end(&rule), Some(End::Silence));

        let mut talk = Sentence::first(0.0);
        push(&mut talk, 5.0, 0.3, true);
        assert_eq!(talk.end(&rule), None);
        let mut breath = talk.clone();
        push(&mut breath, 0.04, 0.3, false);
        assert_eq!(breath.end(&rule), Some(End::Sentence));
        push(&mut talk, 3.0, 0.3, true);
        assert_eq!(talk.end(&rule), Some(End::Sentence));
    }

    #[test]
    fn the_next_sentence_keeps_what_it_begins_with() {
        let mut sentence = Sentence::first(0.0);
        push(&mut sentence, 0.08, 0.5, true);
        sentence.push(&[1.0; FRAME + 7]);
        let next = sentence.next(1);
        assert_eq!(next.power, [0.25, 1.0]);
        assert_eq!((next.partial, next.frames, next.written), ((7.0, 7), 0, None));
    }
}
