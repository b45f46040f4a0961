//! When two corpora are the same, in any folder.

use serde::{Deserialize, Serialize};

use super::lengths::Lengths;
use super::manifest::{Corpus, Utterance};

/// A corpus in a few numbers: what a resumed run must find again for the same batches.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// Recordings.
    pub recordings: usize,
    /// Seconds of those that can be read.
    pub seconds: f64,
    /// A hash of their names without folders, their lengths and speakers, in order.
    pub audio: u64,
    /// A hash of their texts, in order.
    pub texts: u64,
}

impl Identity {
    /// Of a corpus whose recordings have these lengths.
    pub fn of(corpus: &Corpus, lengths: &Lengths) -> Self {
        let (mut audio, mut texts, mut sum) = (Hash::default(), Hash::default(), 0.0);
        for (utterance, length) in corpus.utterances.iter().zip(&lengths.list) {
            let seconds = length.as_ref().map_or(0.0, |length| length.seconds);
            sum += seconds;
            audio.add(name(utterance).as_bytes());
            audio.add(&((seconds * 1e3).round() as u64).to_le_bytes());
            audio.add(utterance.speaker.as_deref().unwrap_or_default().as_bytes());
            texts.add(utterance.text.as_deref().unwrap_or_default().as_bytes());
        }
        let recordings = corpus.utterances.len();
        Self { recordings, seconds: (sum * 1e3).round() / 1e3, audio: audio.0, texts: texts.0 }
    }

    /// Whether these are as many recordings with the same texts, whatever of their audio can be read.
    pub fn lists(&self, other: &Self) -> bool {
        (self.recordings, self.texts) == (other.recordings, other.texts)
    }
}

/// The name of a recording without its folder.
fn name(utterance: &Utterance) -> String {
    let name = utterance.audio.to_string();
    name.rsplit(['/', '\\']).next().unwrap_or(&name).to_owned()
}

/// A hash of names and numbers in order (FNV-1a); the same on every machine and in every version.
#[derive(Debug, Clone, Copy)]
pub struct Hash(pub u64);

impl Default for Hash {
    fn default() -> Self {
        Self(0xCBF2_9CE4_8422_2325)
    }
}

impl Hash {
    /// Adds bytes, and that they end here.
    pub fn add(&mut self, bytes: &[u8]) {
        for &byte in bytes.iter().chain(&(bytes.len() as u64).to_le_bytes()) {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x100_0000_01B3);
        }
    }

    /// Adds the name and the text of a recording of a set, whose order does not count.
    pub fn add_utterance(&mut self, utterance: &Utterance) {
        let mut one = Self::default();
        one.add(name(utterance).as_bytes());
        one.add(utterance.text.as_deref().unwrap_or_default().as_bytes());
        self.0 = self.0.wrapping_add(one.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audio::Recording;

    #[test]
    fn folders_do_not_count_but_names_lengths_and_texts_do() {
        let corpus = |folder: &str, seconds: f64, text: &str| Corpus {
            utterances: vec![Utterance {
                duration: Some(seconds),
                text: Some(text.to_owned()),
                ..Utterance::new(Recording::file(format!("{folder}/a.wav")), "m.jsonl:1".to_owned())
            }],
        };
        let of = |corpus: &Corpus| Identity::of(corpus, &Lengths::stated(corpus));
        let one = of(&corpus("x", 1.0, "one"));
        assert_eq!((one, one.recordings, one.seconds), (of(&corpus("y/z", 1.0, "one")), 1, 1.0));
        let text = of(&corpus("x", 1.0, "two"));
        assert!(text.audio == one.audio && text.texts != one.texts);
        assert_ne!(of(&corpus("x", 1.1, "one")).audio, one.audio);
    }
}
