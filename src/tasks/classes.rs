//! Accuracy, F1 and confusions, with bootstrap intervals.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::rng::{Rng, stream};
use crate::text::interval;

/// Scores of a classifier, as fractions, with 95 % intervals.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Classification {
    /// Share of utterances whose class is found.
    pub accuracy: f64,
    /// Its 95 % bootstrap interval.
    pub accuracy_ci: [f64; 2],
    /// Mean of the F1 of all classes that are in the data or predicted.
    pub macro_f1: f64,
    /// Its 95 % bootstrap interval.
    pub macro_f1_ci: [f64; 2],
    /// Number of utterances.
    pub utterances: usize,
    /// The model's classes, and behind them those of the data that the model lacks.
    pub labels: Vec<String>,
    /// How often the class of the row was predicted as that of the column.
    pub confusion: Vec<Vec<usize>>,
    /// Scores of each class that is in the data or predicted.
    pub classes: Vec<ClassScore>,
}

/// Scores of one class.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClassScore {
    /// The class.
    pub label: String,
    /// Of the utterances that were predicted as it, the share that are; 0 where there are none.
    pub precision: f64,
    /// Of its utterances, the share that were predicted as it; 0 where there are none.
    pub recall: f64,
    /// 2·right / (true + predicted).
    pub f1: f64,
    /// Its utterances.
    pub utterances: usize,
}

/// How often a class is right, true and predicted.
#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    right: usize,
    truth: usize,
    predicted: usize,
}

impl Counts {
    fn f1(self) -> Option<f64> {
        let all = self.truth + self.predicted;
        (all > 0).then(|| 2.0 * self.right as f64 / all as f64)
    }
}

/// Accuracy and macro-F1 of pairs (true, predicted).
fn rates(pairs: impl Iterator<Item = (usize, usize)>, counts: &mut [Counts]) -> [f64; 2] {
    counts.fill(Counts::default());
    let (mut right, mut all) = (0, 0);
    for (truth, predicted) in pairs {
        all += 1;
        counts[truth].truth += 1;
        counts[predicted].predicted += 1;
        if truth == predicted {
            right += 1;
            counts[truth].right += 1;
        }
    }
    let f1: Vec<f64> = counts.iter().filter_map(|one| one.f1()).collect();
    [right as f64 / all.max(1) as f64, f1.iter().sum::<f64>() / f1.len().max(1) as f64]
}

/// Scores `predicted`, numbers of the classes `known`, against the true ones; `None` of nothing. Intervals are the 2.5 and
/// 97.5 % quantiles of 1000 bootstrap draws over utterances; equal data give equal intervals.
pub fn classification(known: &[String], truth: &[&str], predicted: &[usize]) -> Option<Classification> {
    const DRAWS: usize = 1000;
    let unknown: BTreeSet<&str> =
        truth.iter().copied().filter(|label| !known.iter().any(|own| own == label)).collect();
    let labels: Vec<String> = known.iter().cloned().chain(unknown.into_iter().map(str::to_owned)).collect();
    let place = |label: &&str| labels.iter().position(|own| own == label).unwrap_or(0);
    let pairs: Vec<(usize, usize)> = truth.iter().map(place).zip(predicted.iter().copied()).collect();
    let mut counts = vec![Counts::default(); labels.len()];
    let mut rng = Rng::new(&[stream("bootstrap")]);
    let mut draws = [Vec::with_capacity(DRAWS), Vec::with_capacity(DRAWS)];
    if pairs.is_empty() {
        return None;
    }
    for _ in 0..DRAWS {
        let drawn = (0..pairs.len()).map(|_| pairs[rng.below(pairs.len())]);
        let drawn = rates(drawn, &mut counts);
        draws.iter_mut().zip(drawn).for_each(|(draws, rate)| draws.push(rate));
    }
    let [accuracy_ci, macro_f1_ci] = draws.map(interval);
    let [accuracy, macro_f1] = rates(pairs.iter().copied(), &mut counts);
    let mut confusion = vec![vec![0; labels.len()]; labels.len()];
    pairs.iter().for_each(|&(truth, predicted)| confusion[truth][predicted] += 1);
    let share = |right: usize, of: usize| if of > 0 { right as f64 / of as f64 } else { 0.0 };
    let classes = labels.iter().zip(&counts).filter_map(|(label, one)| {
        let (precision, recall) = (share(one.right, one.predicted), share(one.right, one.truth));
        Some(ClassScore { label: label.clone(), precision, recall, f1: one.f1()?, utterances: one.truth })
    });
    Some(Classification {
        accuracy,
        accuracy_ci: accuracy_ci?,
        macro_f1,
        macro_f1_ci: macro_f1_ci?,
        utterances: pairs.len(),
        classes: classes.collect(),
        labels,
        confusion,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_by_hand() {
        let known = ["a", "b", "c", "d"].map(str::to_owned);
        // a: 2 of 3 right; b: 1 of 1; c is predicted once and never true; d neither; z is not known.
        let truth = ["a", "a", "a", "b", "z"];
        let score = classification(&known, &truth, &[0, 0, 1, 1, 2]).unwrap();
        assert_eq!((score.accuracy, score.utterances), (0.6, 5));
        // F1: a 4/5, b 2/3, c 0, z 0; d does not count.
        assert!((score.macro_f1 - (0.8 + 2.0 / 3.0) / 4.0).abs() < 1e-12, "{score:?}");
        assert_eq!(score.labels, ["a", "b", "c", "d", "z"]);
        assert_eq!(score.confusion[0], [2, 1, 0, 0, 0]);
        assert_eq!(score.confusion[4], [0, 0, 1, 0, 0]);
        let names: Vec<&str> = score.classes.iter().map(|one| one.label.as_str()).collect();
        assert_eq!(names, ["a", "b", "c", "z"]);
        assert_eq!((score.classes[1].precision, score.classes[1].recall), (0.5, 1.0));
        let [low, high] = score.accuracy_ci;
        assert!(low < 0.6 && high > 0.6 && (0.0..=1.0).contains(&low) && high <= 1.0);
        assert_eq!(classification(&known, &["a"], &[0]).unwrap().accuracy_ci, [1.0, 1.0]);
        assert_eq!(classification(&known, &[], &[]), None);
    }
}
