//! The result of a decoder.

/// A text that an utterance may be.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Hypothesis {
    /// The words with single spaces between them.
    pub text: String,
    /// The words with their frames.
    pub words: Vec<HypothesisWord>,
    /// Logarithm of the probability that the model gives the text, as far as the search has looked.
    pub ctc_score: f64,
    /// With what language model and hot words add.
    pub score: f64,
}

/// A word of a [`Hypothesis`].
#[derive(Debug, Clone, PartialEq)]
pub struct HypothesisWord {
    /// The word.
    pub word: String,
    /// Its first frame.
    pub start_frame: usize,
    /// One past its last frame.
    pub end_frame: usize,
    /// In [0, 1]. Greedy: the mean probability of its tokens over the frames that emit them. Beam search: the share of all
    /// texts found, by their scores, that have the word in these frames.
    pub confidence: f64,
}

impl Hypothesis {
    /// The text of `words`.
    pub(super) fn new(words: Vec<HypothesisWord>, ctc_score: f64, score: f64) -> Self {
        let text = words.iter().map(|word| word.word.as_str()).collect::<Vec<_>>().join(" ");
        Self { text, words, ctc_score, score }
    }
}

/// Sets the confidence of the words of the first `count` hypotheses from all of them.
pub(super) fn set_confidences(hypotheses: &mut [Hypothesis], count: usize) {
    let highest = hypotheses.first().map_or(0.0, |best| best.score);
    let weights: Vec<f64> = hypotheses.iter().map(|h| (h.score - highest).exp()).collect();
    let total: f64 = weights.iter().sum();
    for index in 0..count.min(hypotheses.len()) {
        let confidences: Vec<f64> = hypotheses[index]
            .words
            .iter()
            .map(|word| {
                let with = hypotheses.iter().zip(&weights).filter(|(other, _)| holds(other, word));
                (with.map(|(_, weight)| weight).sum::<f64>() / total).min(1.0)
            })
            .collect();
        for (word, confidence) in hypotheses[index].words.iter_mut().zip(confidences) {
            word.confidence = confidence;
        }
    }
}

/// Whether a hypothesis has the word in some of the same frames.
fn holds(hypothesis: &Hypothesis, word: &HypothesisWord) -> bool {
    let after = hypothesis.words.partition_point(|other| other.end_frame <= word.start_frame);
    let mut overlapping =
        hypothesis.words[after..].iter().take_while(|other| other.start_frame < word.end_frame);
    overlapping.any(|other| other.word == word.word)
}
