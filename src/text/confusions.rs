//! Confusions between words.

use std::collections::BTreeMap;

use serde::Serialize;

use super::normalize;

/// Pairs of words that are compared at the most; longer texts are left aside.
const MOST_CELLS: usize = 1 << 26;

/// How often a word of the text was recognized as another, left out or put in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Confusion {
    /// The word of the reference; `None` where a word was put in.
    #[serde(rename = "said")]
    pub reference: Option<String>,
    /// The word of the hypothesis; `None` where the word was left out.
    #[serde(rename = "heard")]
    pub hypothesis: Option<String>,
    /// How often.
    pub count: usize,
}

/// Counts of words that were substituted, inserted and deleted.
#[derive(Debug, Clone, Default)]
pub struct Confusions(BTreeMap<(Option<String>, Option<String>), usize>);

impl Confusions {
    /// Adds the errors of an utterance: those that [`super::score`] counts.
    pub fn add(&mut self, reference: &str, hypothesis: &str) {
        let (reference, hypothesis) = (normalize(reference), normalize(hypothesis));
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        for pair in errors(&words(&reference), &words(&hypothesis)) {
            *self.0.entry(pair).or_default() += 1;
        }
    }

    /// The `count` most frequent ones, the most frequent first.
    pub fn most(&self, count: usize) -> Vec<Confusion> {
        let mut all: Vec<Confusion> = self
            .0
            .iter()
            .map(|((reference, hypothesis), &count)| Confusion {
                reference: reference.clone(),
                hypothesis: hypothesis.clone(),
                count,
            })
            .collect();
        all.sort_by_key(|one| std::cmp::Reverse(one.count));
        all.truncate(count);
        all
    }
}

/// The errors of the alignment with the fewest of them, and among those with the fewest substitutions, as
/// [`super::ErrorRate::between`] has it.
fn errors(reference: &[String], hypothesis: &[String]) -> Vec<(Option<String>, Option<String>)> {
    const ERROR: u64 = 1 << 32;
    let width = hypothesis.len() + 1;
    if (reference.len() + 1).saturating_mul(width) > MOST_CELLS {
        return Vec::new();
    }
    // From where the best way to each cell comes: 0 both words, 1 one more of the reference, 2 one more of the hypothesis.
    let mut from = vec![2_u8; (reference.len() + 1) * width];
    let mut row: Vec<u64> = (0..width as u64).map(|errors| errors * ERROR).collect();
    for (i, x) in reference.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = (i as u64 + 1) * ERROR;
        from[(i + 1) * width] = 1;
        for (j, y) in hypothesis.iter().enumerate() {
            let both = diagonal + if x == y { 0 } else { ERROR + 1 };
            diagonal = row[j + 1];
            let (best, way) = [(both, 0), (diagonal + ERROR, 1), (row[j] + ERROR, 2)]
                .into_iter()
                .min_by_key(|&(cost, _)| cost)
                .unwrap_or_default();
            row[j + 1] = best;
            from[(i + 1) * width + j + 1] = way;
        }
    }
    let (mut i, mut j) = (reference.len(), hypothesis.len());
    let mut found = Vec::new();
    while i > 0 || j > 0 {
        match from[i * width + j] {
            0 => {
                (i, j) = (i - 1, j - 1);
                if reference[i] != hypothesis[j] {
                    found.push((Some(reference[i].clone()), Some(hypothesis[j].clone())));
                }
            }
            1 => {
                i -= 1;
                found.push((Some(reference[i].clone()), None));
            }
            _ => {
                j -= 1;
                found.push((None, Some(hypothesis[j].clone())));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::text::score;

    #[test]
    fn confused_words_are_counted() {
        let mut confusions = Confusions::default();
        confusions.add("the cat sat", "the hat sat down");
        confusions.add("A cat", "a hat");
        confusions.add("so it is", "it is");
        let word = |word: &str| Some(word.to_owned());
        let most = confusions.most(3);
        assert_eq!(most[0], Confusion { reference: word("cat"), hypothesis: word("hat"), count: 2 });
        assert_eq!(
            most[1..],
            [
                Confusion { reference: None, hypothesis: word("down"), count: 1 },
                Confusion { reference: word("so"), hypothesis: None, count: 1 },
            ]
        );
        assert_eq!(confusions.most(1).len(), 1);
    }

    proptest! {
        #[test]
        fn errors_are_those_of_the_rate(a in "[ab ]{0,16}", b in "[ab ]{0,16}") {
            let mut confusions = Confusions::default();
            confusions.add(&a, &b);
            let mut kinds = [0; 3];
            for one in confusions.most(usize::MAX) {
                kinds[match (one.reference, one.hypothesis) { (Some(_), Some(_)) => 0, (None, _) => 1, _ => 2 }] += one.count;
            }
            let rate = score(&a, &b).words;
            prop_assert_eq!(kinds, [rate.substituted, rate.inserted, rate.deleted]);
        }
    }
}
