//! Word and character error rates with bootstrap intervals.

use serde::{Deserialize, Serialize};

use super::normalize;
use crate::rng::{Rng, stream};

/// Errors by kind, and the number of reference units that they are counted against.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorRate {
    /// Units of the reference with another in their place.
    pub substituted: usize,
    /// Units that the reference lacks.
    pub inserted: usize,
    /// Units of the reference that are missing.
    pub deleted: usize,
    /// Words or characters of the reference.
    pub total: usize,
}

impl ErrorRate {
    /// The fewest substitutions, insertions and deletions that make `hypothesis` of `reference`; of several such
    /// ways the one that leaves the most units as they are.
    pub fn between<T: PartialEq>(reference: &[T], hypothesis: &[T]) -> Self {
        // A cell holds errors in its upper half and substitutions in its lower one, so that the smaller has fewer
        // errors, and among equals fewer substitutions.
        const ERROR: u64 = 1 << 32;
        let mut row: Vec<u64> = (0..=hypothesis.len() as u64).map(|errors| errors * ERROR).collect();
        for (i, x) in reference.iter().enumerate() {
            let mut diagonal = row[0];
            row[0] = (i as u64 + 1) * ERROR;
            for (j, y) in hypothesis.iter().enumerate() {
                let substituted = diagonal + if x == y { 0 } else { ERROR + 1 };
                diagonal = row[j + 1];
                row[j + 1] = substituted.min(diagonal + ERROR).min(row[j] + ERROR);
            }
        }
        let best = row[hypothesis.len()];
        let (errors, substituted) = ((best / ERROR) as usize, (best % ERROR) as usize);
        // What is deleted more than inserted is what the reference is longer.
        let deleted = (errors - substituted + reference.len() - hypothesis.len()) / 2;
        let inserted = errors - substituted - deleted;
        Self { substituted, inserted, deleted, total: reference.len() }
    }

    /// Errors of all kinds.
    pub fn errors(&self) -> usize {
        self.substituted + self.inserted + self.deleted
    }

    /// errors / total, as a fraction, which insertions can take above 1; `None` where the reference is empty.
    pub fn rate(&self) -> Option<f64> {
        (self.total > 0).then(|| self.errors() as f64 / self.total as f64)
    }
}

impl std::ops::AddAssign for ErrorRate {
    fn add_assign(&mut self, other: Self) {
        self.substituted += other.substituted;
        self.inserted += other.inserted;
        self.deleted += other.deleted;
        self.total += other.total;
    }
}

impl std::iter::Sum for ErrorRate {
    fn sum<I: Iterator<Item = Self>>(rates: I) -> Self {
        rates.fold(Self::default(), |mut sum, rate| {
            sum += rate;
            sum
        })
    }
}

/// The errors of one utterance.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Score {
    /// Word errors.
    pub words: ErrorRate,
    /// Character errors, spaces between words included.
    pub characters: ErrorRate,
}

/// Compares `hypothesis` with `reference`, both in the form of [`normalize`].
pub fn score(reference: &str, hypothesis: &str) -> Score {
    let (reference, hypothesis) = (normalize(reference), normalize(hypothesis));
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let characters = |text: &str| text.chars().collect::<Vec<_>>();
    Score {
        words: ErrorRate::between(&words(&reference), &words(&hypothesis)),
        characters: ErrorRate::between(&characters(&reference), &characters(&hypothesis)),
    }
}

/// Error rates of a corpus, as fractions, each with its 95 % interval; `None` where the references are empty.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Evaluation {
    /// Word error rate.
    pub wer: Option<f64>,
    /// 95 % bootstrap interval of `wer`.
    pub wer_ci: Option<[f64; 2]>,
    /// Character error rate.
    pub cer: Option<f64>,
    /// 95 % bootstrap interval of `cer`.
    pub cer_ci: Option<[f64; 2]>,
    /// Number of utterances.
    pub utterances: usize,
    /// Number of reference words.
    pub words: usize,
    /// Reference words with another in their place.
    pub substituted: usize,
    /// Words that the references lack.
    pub inserted: usize,
    /// Reference words that are missing.
    pub deleted: usize,
}

/// Corpus error rates, Σ errors / Σ reference units, with the 2.5 and 97.5 % quantiles of 1000
/// bootstrap draws over utterances. Equal scores give equal intervals.
pub fn evaluate(scores: &[Score]) -> Evaluation {
    const DRAWS: usize = 1000;
    let mut rng = Rng::new(&[stream("bootstrap")]);
    let (mut wers, mut cers) = (Vec::with_capacity(DRAWS), Vec::with_capacity(DRAWS));
    for _ in 0..DRAWS {
        let (mut words, mut characters) = (ErrorRate::default(), ErrorRate::default());
        for _ in scores {
            let drawn = scores[rng.below(scores.len())];
            words += drawn.words;
            characters += drawn.characters;
        }
        // A draw of nothing but empty references has no rate.
        wers.extend(words.rate());
        cers.extend(characters.rate());
    }
    let words: ErrorRate = scores.iter().map(|score| score.words).sum();
    let characters: ErrorRate = scores.iter().map(|score| score.characters).sum();
    Evaluation {
        wer: words.rate(),
        wer_ci: interval(wers),
        cer: characters.rate(),
        cer_ci: interval(cers),
        utterances: scores.len(),
        words: words.total,
        substituted: words.substituted,
        inserted: words.inserted,
        deleted: words.deleted,
    }
}

/// The 2.5 and 97.5 % quantiles of `draws`, by the nearest rank.
pub(crate) fn interval(mut draws: Vec<f64>) -> Option<[f64; 2]> {
    draws.sort_by(f64::total_cmp);
    let last = draws.len().checked_sub(1)? as f64;
    Some([0.025, 0.975].map(|quantile| draws[(quantile * last).round() as usize]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn edits(reference: &str, hypothesis: &str) -> ErrorRate {
        ErrorRate::between(reference.as_bytes(), hypothesis.as_bytes())
    }

    fn kinds(rate: ErrorRate) -> [usize; 4] {
        [rate.substituted, rate.inserted, rate.deleted, rate.total]
    }

    #[test]
    fn errors_by_hand() {
        assert_eq!(kinds(edits("kitten", "sitting")), [2, 1, 0, 6]);
        assert_eq!(kinds(edits("", "abc")), [0, 3, 0, 0]);
        assert_eq!(kinds(edits("abc", "")), [0, 0, 3, 3]);
        assert_eq!(edits("intention", "execution").errors(), 5);
        // Two substitutions would do too, but leave nothing right.
        assert_eq!(kinds(edits("ab", "bc")), [0, 1, 1, 2]);
    }

    #[test]
    fn a_corpus_by_hand() {
        let scores = [score("The cat sat", "the  hat sat down"), score("one", "one"), score("", "a b")];
        assert_eq!(kinds(scores[0].words), [1, 1, 0, 3]);
        assert_eq!(kinds(scores[0].characters), [1, 5, 0, 11]);
        let evaluation = evaluate(&scores);
        assert_eq!(evaluation.wer, Some(4.0 / 4.0));
        assert_eq!(evaluation.cer, Some(9.0 / 14.0));
        assert_eq!((evaluation.utterances, evaluation.words), (3, 4));
        assert_eq!([evaluation.substituted, evaluation.inserted, evaluation.deleted], [1, 3, 0]);
    }

    #[test]
    fn intervals_match_the_binomial() {
        // 300 one-word utterances, a tenth wrong: standard error sqrt(0.1·0.9/300) = 0.0173.
        let scores: Vec<Score> =
            (0..300).map(|i| score("seven", if i % 10 == 0 { "eleven" } else { "seven" })).collect();
        let evaluation = evaluate(&scores);
        assert!((evaluation.wer.unwrap() - 0.1).abs() < 1e-12);
        let [low, high] = evaluation.wer_ci.unwrap();
        assert!((low - 0.066).abs() < 0.006 && (high - 0.134).abs() < 0.006, "{low} {high}");
        assert_eq!(evaluation, evaluate(&scores));
    }

    #[test]
    fn where_no_word_is_expected_there_is_no_rate() {
        for scores in [&[][..], &[score("", "a b"), score("  ", "")]] {
            let evaluation = evaluate(scores);
            assert_eq!((evaluation.wer, evaluation.wer_ci), (None, None));
            assert_eq!((evaluation.cer, evaluation.cer_ci), (None, None));
            assert_eq!((evaluation.utterances, evaluation.inserted), (scores.len(), scores.len()));
        }
        // A quarter of the draws hold the empty reference twice.
        let evaluation = evaluate(&[score("", "a"), score("b", "b")]);
        assert_eq!(evaluation.wer, Some(1.0));
        assert!(evaluation.wer_ci.unwrap().iter().all(|rate| rate.is_finite()));
    }

    proptest! {
        #[test]
        fn distance_is_a_metric(a in "[ab]{0,12}", b in "[ab]{0,12}", c in "[ab]{0,12}") {
            let d = |x: &str, y: &str| edits(x, y).errors();
            prop_assert_eq!(d(&a, &b), d(&b, &a));
            prop_assert_eq!(d(&a, &b) == 0, a == b);
            prop_assert!(d(&a, &c) <= d(&a, &b) + d(&b, &c));
            prop_assert!(d(&a, &b) <= a.len().max(b.len()));
            let rate = edits(&a, &b);
            prop_assert_eq!(a.len() + rate.inserted, b.len() + rate.deleted);
        }

        #[test]
        fn scoring_never_panics(reference in ".{0,40}", hypothesis in ".{0,40}") {
            let score = score(&reference, &hypothesis);
            prop_assert!(score.words.rate().is_none_or(f64::is_finite));
            prop_assert!(score.characters.total >= score.words.total);
        }
    }
}
