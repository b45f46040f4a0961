//! Word and character error rates with bootstrap intervals.

use serde::Serialize;

use super::normalize;
use crate::rng::{Rng, stream};

/// Errors and the number of reference units that they are counted against.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ErrorRate {
    /// Substitutions, insertions and deletions.
    pub errors: usize,
    /// Words or characters of the reference.
    pub total: usize,
}

impl ErrorRate {
    /// errors / total, as a fraction. Insertions can take it above 1; against an empty reference
    /// it is the number of errors.
    pub fn rate(&self) -> f64 {
        self.errors as f64 / self.total.max(1) as f64
    }
}

impl std::ops::AddAssign for ErrorRate {
    fn add_assign(&mut self, other: Self) {
        self.errors += other.errors;
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

/// What one utterance adds to the two rates.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Score {
    /// Word errors.
    pub words: ErrorRate,
    /// Character errors, spaces between words included.
    pub characters: ErrorRate,
}

/// Levenshtein distance: the fewest substitutions, insertions and deletions that make `a` of `b`.
pub fn edit_distance<T: PartialEq>(a: &[T], b: &[T]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

/// Compares `hypothesis` with `reference`, both in the form of [`normalize`].
pub fn score(reference: &str, hypothesis: &str) -> Score {
    let (reference, hypothesis) = (normalize(reference), normalize(hypothesis));
    fn rate<T: PartialEq>(reference: Vec<T>, hypothesis: Vec<T>) -> ErrorRate {
        ErrorRate { errors: edit_distance(&reference, &hypothesis), total: reference.len() }
    }
    Score {
        words: rate(reference.split_whitespace().collect(), hypothesis.split_whitespace().collect()),
        characters: rate(reference.chars().collect(), hypothesis.chars().collect()),
    }
}

/// Error rates of a corpus, as fractions, each with its 95 % interval.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Evaluation {
    /// Word error rate.
    pub wer: f64,
    /// 95 % bootstrap interval of `wer`.
    pub wer_ci: [f64; 2],
    /// Character error rate.
    pub cer: f64,
    /// 95 % bootstrap interval of `cer`.
    pub cer_ci: [f64; 2],
    /// Number of utterances.
    pub utterances: usize,
    /// Number of reference words.
    pub words: usize,
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
        wers.push(words.rate());
        cers.push(characters.rate());
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
    }
}

/// The 2.5 and 97.5 % quantiles of `draws`, by the nearest rank.
fn interval(mut draws: Vec<f64>) -> [f64; 2] {
    draws.sort_by(f64::total_cmp);
    let last = draws.len() as f64 - 1.0;
    [0.025, 0.975].map(|quantile| draws[(quantile * last).round() as usize])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn distances_by_hand() {
        let distance = |a: &str, b: &str| edit_distance(a.as_bytes(), b.as_bytes());
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("abc", ""), 3);
        assert_eq!(distance("intention", "execution"), 5);
    }

    #[test]
    fn a_corpus_by_hand() {
        let scores = [score("The cat sat", "the  hat sat down"), score("one", "one"), score("", "a b")];
        assert_eq!(scores[0].words, ErrorRate { errors: 2, total: 3 });
        assert_eq!(scores[0].characters, ErrorRate { errors: 6, total: 11 });
        let evaluation = evaluate(&scores);
        assert_eq!(evaluation.wer, 4.0 / 4.0);
        assert_eq!(evaluation.cer, 9.0 / 14.0);
        assert_eq!((evaluation.utterances, evaluation.words), (3, 4));
    }

    #[test]
    fn intervals_match_the_binomial() {
        // 300 one-word utterances, a tenth wrong: standard error sqrt(0.1·0.9/300) = 0.0173.
        let scores: Vec<Score> =
            (0..300).map(|i| score("seven", if i % 10 == 0 { "eleven" } else { "seven" })).collect();
        let evaluation = evaluate(&scores);
        assert!((evaluation.wer - 0.1).abs() < 1e-12);
        assert!((evaluation.wer_ci[0] - 0.066).abs() < 0.006, "{:?}", evaluation.wer_ci);
        assert!((evaluation.wer_ci[1] - 0.134).abs() < 0.006, "{:?}", evaluation.wer_ci);
        assert_eq!(evaluation, evaluate(&scores));
    }

    #[test]
    fn an_empty_corpus_has_rate_zero() {
        let evaluation = evaluate(&[]);
        assert_eq!((evaluation.wer, evaluation.wer_ci, evaluation.utterances), (0.0, [0.0, 0.0], 0));
    }

    proptest! {
        #[test]
        fn distance_is_a_metric(a in "[ab]{0,12}", b in "[ab]{0,12}", c in "[ab]{0,12}") {
            let d = |x: &str, y: &str| edit_distance(x.as_bytes(), y.as_bytes());
            prop_assert_eq!(d(&a, &b), d(&b, &a));
            prop_assert_eq!(d(&a, &b) == 0, a == b);
            prop_assert!(d(&a, &c) <= d(&a, &b) + d(&b, &c));
            prop_assert!(d(&a, &b) <= a.len().max(b.len()));
        }

        #[test]
        fn scoring_never_panics(reference in ".{0,40}", hypothesis in ".{0,40}") {
            let score = score(&reference, &hypothesis);
            prop_assert!(score.characters.rate().is_finite() && score.words.rate().is_finite());
        }
    }
}
