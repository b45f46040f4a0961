//! The most probable segmentation of a word.

use std::collections::HashMap;

/// Appends the ids of `word` to `into`, and the characters that no token writes to `foreign`.
pub(super) fn part(
    ids: &HashMap<String, u32>,
    scores: &[f64],
    word: &str,
    into: &mut Vec<u32>,
    foreign: &mut Vec<char>,
) {
    let ends: Vec<usize> = word.char_indices().map(|(at, c)| at + c.len_utf8()).collect();
    // For each number of characters: the best score, where its last token begins, and that token.
    let mut best: Vec<(f64, usize, Option<u32>)> = vec![(f64::NEG_INFINITY, 0, None); ends.len() + 1];
    best[0].0 = 0.0;
    // A character that no token writes costs more than any token.
    let unknown = scores.iter().copied().fold(0.0, f64::min) - 10.0;
    for from in 0..ends.len() {
        let start = if from == 0 { 0 } else { ends[from - 1] };
        let score = best[from].0;
        for to in from + 1..=ends.len().min(from + super::LONGEST) {
            if let Some(&id) = ids.get(&word[start..ends[to - 1]]) {
                let score = score + scores[id as usize];
                if score > best[to].0 {
                    best[to] = (score, from, Some(id));
                }
            }
        }
        if score + unknown > best[from + 1].0 {
            best[from + 1] = (score + unknown, from, None);
        }
    }
    let (mut at, first, outside) = (ends.len(), into.len(), foreign.len());
    while at > 0 {
        let (_, from, token) = best[at];
        match token {
            Some(id) => into.push(id),
            None => foreign.extend(word[..ends[from]].chars().next_back()),
        }
        at = from;
    }
    into[first..].reverse();
    foreign[outside..].reverse();
}
