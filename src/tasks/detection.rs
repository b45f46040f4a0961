//! Misses and false alarms of trials: equal error rate, detection cost, and their curve.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::rng::{Rng, stream};
use crate::text::interval;

/// Two utterances that are compared.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Trial {
    /// How alike they are.
    pub score: f64,
    /// Whether they are of one speaker.
    pub same: bool,
    /// The numbers of their speakers.
    pub speakers: [usize; 2],
}

/// Rates of detection, as fractions.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Detection {
    /// The rate of misses and of false alarms where they are the same, on the line between thresholds.
    pub eer: f64,
    /// The least cost of any threshold, with 1 % of targets and costs of 1, as a multiple of that of a system that
    /// accepts none.
    pub min_dcf: f64,
}

/// The share of targets in the cost.
const TARGETS: f64 = 0.01;

impl Detection {
    /// The rates of trials that count as often as `weights` says; `None` where there is no target, or nothing else.
    pub fn of(trials: &[Trial], weights: &[f64]) -> Option<Self> {
        Sorted::new(trials).detection(weights)
    }
}

/// Trials in the order of their scores, the highest first.
struct Sorted<'a> {
    trials: &'a [Trial],
    order: Vec<usize>,
}

impl<'a> Sorted<'a> {
    fn new(trials: &'a [Trial]) -> Self {
        let mut order: Vec<usize> = (0..trials.len()).collect();
        order.sort_by(|&a, &b| trials[b].score.total_cmp(&trials[a].score));
        Self { trials, order }
    }

    /// Tells `point` the rates of false alarms and of misses of every threshold, from the highest to the lowest; trials of
    /// one score are accepted together.
    fn walk(&self, weights: &[f64], mut point: impl FnMut(f64, f64)) -> Option<()> {
        let (mut targets, mut others) = (0.0, 0.0);
        for (trial, weight) in self.trials.iter().zip(weights) {
            *(if trial.same { &mut targets } else { &mut others }) += weight;
        }
        if targets <= 0.0 || others <= 0.0 {
            return None;
        }
        let (mut hits, mut alarms) = (0.0, 0.0);
        point(0.0, 1.0);
        for (place, &at) in self.order.iter().enumerate() {
            let trial = &self.trials[at];
            *(if trial.same { &mut hits } else { &mut alarms }) += weights[at];
            let next = self.order.get(place + 1).map(|&next| self.trials[next].score);
            if next != Some(trial.score) {
                point(alarms / others, 1.0 - hits / targets);
            }
        }
        Some(())
    }

    fn detection(&self, weights: &[f64]) -> Option<Detection> {
        let (mut eer, mut min_dcf) = (None, f64::INFINITY);
        let mut before = (0.0, 1.0);
        self.walk(weights, |alarms, misses| {
            let cost = TARGETS * misses + (1.0 - TARGETS) * alarms;
            min_dcf = min_dcf.min(cost / TARGETS.min(1.0 - TARGETS));
            if eer.is_none() && misses <= alarms {
                let (above, below) = (before.1 - before.0, alarms - misses);
                let share = if above + below > 0.0 { above / (above + below) } else { 0.0 };
                eer = Some(before.1 + share * (misses - before.1));
            }
            before = (alarms, misses);
        })?;
        Some(Detection { eer: eer?, min_dcf })
    }
}

/// A 95 % interval.
pub type Interval = Option<[f64; 2]>;

/// Scores of a verifier, as fractions, with 95 % intervals.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Verification {
    /// Equal error rate.
    pub eer: f64,
    /// Its 95 % bootstrap interval over speakers; `None` where no draw of speakers has both kinds of trials.
    pub eer_ci: Interval,
    /// Least detection cost, with 1 % of targets.
    pub min_dcf: f64,
    /// Its 95 % bootstrap interval over speakers.
    pub min_dcf_ci: Interval,
    /// Number of trials.
    pub trials: usize,
    /// Those of one speaker.
    pub targets: usize,
    /// Speakers in them.
    pub speakers: usize,
    /// The rates [false alarms, misses] of every threshold at which they change, the highest first.
    #[serde(skip)]
    pub curve: Vec<[f64; 2]>,
}

/// Scores trials; `None` where there is no target, or nothing else. In each of the 1000 draws of the bootstrap, a trial
/// within a speaker counts as often as the speaker is drawn, one between two as often as there are pairs of them.
pub fn verification(trials: &[Trial]) -> Option<Verification> {
    const DRAWS: usize = 1000;
    let sorted = Sorted::new(trials);
    let whole = vec![1.0; trials.len()];
    let Detection { eer, min_dcf } = sorted.detection(&whole)?;
    let mut numbers = BTreeMap::new();
    for speaker in trials.iter().flat_map(|trial| trial.speakers) {
        let next = numbers.len();
        numbers.entry(speaker).or_insert(next);
    }
    let sides: Vec<[usize; 2]> =
        trials.iter().map(|trial| trial.speakers.map(|speaker| numbers[&speaker])).collect();
    let mut rng = Rng::new(&[stream("bootstrap")]);
    let (mut eers, mut costs) = (Vec::with_capacity(DRAWS), Vec::with_capacity(DRAWS));
    let mut weights = whole.clone();
    for _ in 0..DRAWS {
        let mut drawn = vec![0.0; numbers.len()];
        for _ in 0..numbers.len() {
            drawn[rng.below(numbers.len())] += 1.0;
        }
        for (weight, &[a, b]) in weights.iter_mut().zip(&sides) {
            *weight = if a == b { drawn[a] } else { drawn[a] * drawn[b] };
        }
        if let Some(detection) = sorted.detection(&weights) {
            eers.push(detection.eer);
            costs.push(detection.min_dcf);
        }
    }
    let mut curve: Vec<[f64; 2]> = Vec::new();
    sorted.walk(&whole, |alarms, misses| {
        // What lies on a straight line is no corner.
        if let [.., before, last] = curve.as_slice()
            && (before[0] == last[0] && last[0] == alarms || before[1] == last[1] && last[1] == misses)
        {
            curve.pop();
        }
        curve.push([alarms, misses]);
    })?;
    Some(Verification {
        eer,
        eer_ci: interval(eers),
        min_dcf,
        min_dcf_ci: interval(costs),
        trials: trials.len(),
        targets: trials.iter().filter(|trial| trial.same).count(),
        speakers: numbers.len(),
        curve,
    })
}

/// Every pair of utterances (class, embedding of length 1) by the cosine between them.
pub fn all_pairs(utterances: &[(&str, Vec<f32>)]) -> Vec<Trial> {
    let mut numbers: BTreeMap<&str, usize> = BTreeMap::new();
    for (class, _) in utterances {
        let next = numbers.len();
        numbers.entry(class).or_insert(next);
    }
    let mut trials = Vec::new();
    for (at, (class, embedding)) in utterances.iter().enumerate() {
        for (other, others) in &utterances[..at] {
            trials.push(Trial {
                score: cosine(embedding, others),
                same: class == other,
                speakers: [numbers[other], numbers[class]],
            });
        }
    }
    trials
}

/// The cosine between embeddings of length 1.
pub(crate) fn cosine(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(a * b)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Trials of the scores of targets and of others.
    fn trials(targets: &[f64], others: &[f64]) -> Vec<Trial> {
        let trial = |same: bool| move |&score: &f64| Trial { score, same, speakers: [0, usize::from(!same)] };
        targets.iter().map(trial(true)).chain(others.iter().map(trial(false))).collect()
    }

    fn detect(targets: &[f64], others: &[f64]) -> Detection {
        let trials = trials(targets, others);
        Detection::of(&trials, &vec![1.0; trials.len()]).unwrap()
    }

    #[track_caller]
    fn close(got: f64, wanted: f64) {
        assert!((got - wanted).abs() < 1e-12, "{got}, wanted {wanted}");
    }

    #[test]
    fn rates_by_hand() {
        // Nothing is wrong above 0.5.
        assert_eq!(detect(&[0.9, 0.8], &[0.1, 0.2]), Detection { eer: 0.0, min_dcf: 0.0 });
        // The reverse: no threshold is better than to accept none.
        assert_eq!(detect(&[0.1, 0.2], &[0.9, 0.8]), Detection { eer: 1.0, min_dcf: 1.0 });
        // (alarms, misses): (0, 1) (0, ½) (½, ½) (½, 0) (1, 0): the lines meet at (½, ½). At no alarm half are missed.
        let one = detect(&[0.9, 0.4], &[0.6, 0.1]);
        close(one.eer, 0.5);
        close(one.min_dcf, 0.5);
        // (0, 1) (0, ⅔) (0, ⅓) (¼, ⅓) (¼, 0) …: misses = alarms on the way from (¼, ⅓) to (¼, 0).
        let one = detect(&[0.9, 0.8, 0.3], &[0.5, 0.2, 0.1, 0.0]);
        close(one.eer, 0.25);
        close(one.min_dcf, 1.0 / 3.0);
        // All scores are equal: from (0, 1) straight to (1, 0).
        let one = detect(&[0.5; 3], &[0.5; 7]);
        close(one.eer, 0.5);
        close(one.min_dcf, 1.0);
        // A tie of one target of two and one other of four: from (0, 1) to (¼, ½), then (¼, 0): with 1 − x/¼·½ = x the
        // lines do not meet before (¼, ½); misses fall to alarms at ¼.
        close(detect(&[0.7, 0.6], &[0.7, 0.2, 0.1, 0.0]).eer, 0.25);
        // A tie across the crossing: (0, ½) to (½, 0) meet at ¼.
        close(detect(&[0.9, 0.5], &[0.5, 0.1]).eer, 0.25);
        // One alarm in 200 costs 99/200 above the quarter that is missed.
        let mut others = vec![0.0; 199];
        others.push(0.65);
        let one = detect(&[0.9, 0.8, 0.7, 0.6], &others);
        close(one.min_dcf, 0.25);
        close(one.eer, 0.005);
        let only = trials(&[0.5], &[]);
        assert_eq!(Detection::of(&only, &[1.0]), None);
    }

    #[test]
    fn weights_are_repetitions() {
        let trials = trials(&[0.9, 0.3], &[0.5, 0.2]);
        let weighted = Detection::of(&trials, &[3.0, 1.0, 1.0, 2.0]).unwrap();
        let repeated = detect(&[0.9, 0.9, 0.9, 0.3], &[0.5, 0.2, 0.2]);
        close(weighted.eer, repeated.eer);
        close(weighted.min_dcf, repeated.min_dcf);
    }

    #[test]
    fn pairs_and_intervals() {
        let unit = |angle: f32| vec![angle.cos(), angle.sin()];
        let said = ["a", "a", "b", "b", "c", "c"];
        let angles = [0.0, 0.1, 1.0, 1.1, 0.15, 0.2];
        let utterances: Vec<(&str, Vec<f32>)> = said.into_iter().zip(angles.map(unit)).collect();
        let trials = all_pairs(&utterances);
        assert_eq!((trials.len(), trials.iter().filter(|trial| trial.same).count()), (15, 3));
        assert_eq!(trials[0].speakers, [0, 0]);
        close(trials[0].score, f64::from(0.1_f32.cos()).mul_add(1.0, 0.0));
        let score = verification(&trials).unwrap();
        assert_eq!((score.trials, score.targets, score.speakers), (15, 3, 3));
        let [low, high] = score.eer_ci.unwrap();
        assert!(low <= score.eer && score.eer <= high && high <= 1.0, "{score:?}");
        assert_eq!((score.curve[0], score.curve.last()), ([0.0, 1.0], Some(&[1.0, 0.0])));
        assert_eq!(verification(&trials), Some(score));
    }
}
