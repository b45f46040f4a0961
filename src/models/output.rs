//! The output of a CTC model for a waveform, and the words that a decoder finds in it.

use crate::decode::{Alphabet, Decoder, Emissions, Hypothesis, align};
use crate::error::Result;
use crate::text::{SECONDS_PER_FRAME, Word};

/// The text of one waveform.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Recognized {
    /// The words, with single spaces between them.
    pub text: String,
    /// Their times, in seconds from the waveform's beginning, and confidence.
    pub words: Vec<Word>,
    /// Number of words, from the first on, that stay whatever follows: of a stream, the others may still change.
    pub settled: usize,
    /// Logarithm of the probability that the model gives the text, as far as the decoder has looked.
    pub ctc_score: f64,
    /// With what language model and hot words add.
    pub score: f64,
    /// The next best texts, where more than one was asked for.
    pub alternatives: Vec<Recognized>,
}

/// How encoder frames lie in a waveform.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Timing {
    /// Seconds of the waveform before the part that the frames are of.
    pub start: f64,
    /// Seconds of frame 0 before the part's beginning: silence that was added, and the left padding to a multiple of
    /// 4 feature frames.
    pub offset: f64,
    /// Seconds of the part; no word begins or ends outside it.
    pub duration: f64,
}

impl Timing {
    /// The time at which `frame` begins.
    pub fn seconds(&self, frame: usize) -> f64 {
        let time = frame as f64 * SECONDS_PER_FRAME - self.offset;
        self.start + time.clamp(0.0, self.duration.max(0.0))
    }

    /// `hypothesis` with times.
    pub fn recognized(&self, hypothesis: Hypothesis) -> Recognized {
        let word = |word: crate::decode::HypothesisWord| Word {
            word: word.word,
            start: self.seconds(word.start_frame),
            end: self.seconds(word.end_frame),
            confidence: word.confidence,
        };
        let words: Vec<Word> = hypothesis.words.into_iter().map(word).collect();
        Recognized {
            text: hypothesis.text,
            settled: words.len(),
            words,
            ctc_score: hypothesis.ctc_score,
            score: hypothesis.score,
            alternatives: Vec::new(),
        }
    }
}

/// The output of the model for one waveform, part by part of long ones.
#[derive(Debug, Clone, Default)]
pub struct ModelOutput {
    pub(super) parts: Vec<(Emissions, Timing)>,
}

impl ModelOutput {
    /// The hypotheses of `decoder`; `count` texts, the others as alternatives of the best one.
    pub fn decode(&self, decoder: &Decoder, count: usize) -> Recognized {
        let parts = (0..self.parts()).map(|part| self.decode_part(part, decoder, count));
        Self::join(parts, count)
    }

    /// Number of parts of a waveform.
    pub fn parts(&self) -> usize {
        self.parts.len()
    }

    /// The best `count` texts of one part, the best one first; [`ModelOutput::join`] makes the whole of them.
    pub fn decode_part(&self, part: usize, decoder: &Decoder, count: usize) -> Vec<Recognized> {
        let (emissions, timing) = &self.parts[part];
        let found = decoder.decode(emissions, count.max(1));
        found.into_iter().map(|text| timing.recognized(text)).collect()
    }

    /// The whole of the texts of all parts.
    pub fn join(parts: impl IntoIterator<Item = Vec<Recognized>>, count: usize) -> Recognized {
        let nothing = vec![Recognized::default()];
        with_alternatives(
            parts.into_iter().fold(nothing, |before, after| joined(&before, &after, count.max(1))),
        )
    }

    /// When each of `words` is said, whose tokens are `ids`; and the logarithm of the probability of the best path through
    /// the frames that says them all, one after another.
    ///
    /// # Errors
    /// When so few frames cannot say so many tokens, or there are too many of both.
    pub fn align(&self, alphabet: &Alphabet, words: &[String], ids: &[Vec<u32>]) -> Result<(Vec<Word>, f64)> {
        let (mut frames, mut times) = (Vec::new(), Vec::new());
        for (emissions, timing) in &self.parts {
            for (at, frame) in emissions.frames().enumerate() {
                frames.push(frame);
                times.push((timing.seconds(at), timing.seconds(at + 1)));
            }
        }
        let mut tokens = Vec::new();
        let mut places = Vec::with_capacity(ids.len());
        for word in ids {
            if !tokens.is_empty() {
                tokens.extend(alphabet.space());
            }
            places.push(tokens.len()..tokens.len() + word.len());
            tokens.extend(word);
        }
        let found = align(&frames, &tokens)?;
        let word = |(word, own): (&String, std::ops::Range<usize>)| {
            let stretches = &found.frames[own.clone()];
            let count: usize = stretches.iter().map(ExactSizeIterator::len).sum();
            let sum: f64 =
                stretches.iter().zip(&found.probabilities[own]).map(|(s, p)| s.len() as f64 * p).sum();
            let [first, last] = [stretches.first(), stretches.last()];
            Word {
                word: word.clone(),
                start: first.and_then(|own| times.get(own.start)).map_or(0.0, |time| time.0),
                end: last.and_then(|own| times.get(own.end.saturating_sub(1))).map_or(0.0, |time| time.1),
                confidence: sum / count.max(1) as f64,
            }
        };
        Ok((words.iter().zip(places).map(word).collect(), found.score))
    }

    /// Number of encoder frames.
    pub fn frames(&self) -> usize {
        self.parts.iter().map(|(emissions, _)| emissions.len()).sum()
    }
}

/// The first of texts, with the others as its alternatives.
pub(super) fn with_alternatives(texts: Vec<Recognized>) -> Recognized {
    let mut texts = texts.into_iter();
    let first = texts.next().unwrap_or_default();
    Recognized { alternatives: texts.collect(), ..first }
}

/// The best `count` of the texts of one part with those of the next behind them.
fn joined(before: &[Recognized], after: &[Recognized], count: usize) -> Vec<Recognized> {
    if after.is_empty() {
        return before.to_vec();
    }
    let mut pairs: Vec<(&Recognized, &Recognized)> =
        before.iter().flat_map(|first| after.iter().map(move |second| (first, second))).collect();
    pairs.sort_by(|a, b| (b.0.score + b.1.score).total_cmp(&(a.0.score + a.1.score)));
    pairs.truncate(count);
    let join = |(first, second): (&Recognized, &Recognized)| {
        let texts = [&first.text, &second.text].map(String::as_str);
        let texts: Vec<&str> = texts.into_iter().filter(|text| !text.is_empty()).collect();
        Recognized {
            text: texts.join(" "),
            words: [&first.words[..], &second.words].concat(),
            settled: first.settled + second.settled,
            ctc_score: first.ctc_score + second.ctc_score,
            score: first.score + second.score,
            alternatives: Vec::new(),
        }
    };
    pairs.into_iter().map(join).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::Alphabet;

    #[test]
    fn parts_follow_each_other_with_times_and_alternatives() {
        let alphabet = Alphabet::new(&["", "a", "b", " "]).unwrap();
        let timing = |start| Timing { start, offset: 0.05, duration: 0.1 };
        let output = ModelOutput {
            parts: vec![
                (Emissions::certain(&[1, 0, 2, 2]), timing(0.0)),
                (Emissions::certain(&[0, 0]), timing(60.0)),
                (Emissions::certain(&[0, 2, 3, 1]), timing(120.0)),
            ],
        };
        assert_eq!(output.frames(), 10);
        let found = output.decode(&Decoder::Greedy(alphabet), 3);
        assert_eq!((found.text.as_str(), found.words.len(), found.settled), ("ab b a", 3, 3));
        let times: Vec<f64> = found.words.iter().flat_map(|word| [word.start, word.end]).collect();
        for (time, expected) in times.iter().zip([0.0, 0.1, 120.0, 120.03, 120.07, 120.1]) {
            assert!((time - expected).abs() < 1e-9, "{times:?}");
        }
        let text = |text: &str, score| Recognized { text: text.to_owned(), score, ..Recognized::default() };
        let best = joined(&[text("a", -1.0), text("b", -4.0)], &[text("c", -1.0), text("", -2.0)], 3);
        let texts: Vec<(&str, f64)> = best.iter().map(|text| (text.text.as_str(), text.score)).collect();
        assert_eq!(texts, [("a c", -2.0), ("a", -3.0), ("b c", -5.0)]);
    }
}
