//! Byte pair encoding of a word.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

/// Pairs of ids that become one: which is merged first, and into what.
pub(super) type Merges = HashMap<(u32, u32), (u32, u32)>;

/// Not in the chain of symbols.
const NONE: usize = usize::MAX;

/// Appends the ids of `word` to `into`, and the characters that are no token to `foreign`.
pub(super) fn part(
    ids: &HashMap<String, u32>,
    merges: &Merges,
    word: &str,
    into: &mut Vec<u32>,
    foreign: &mut Vec<char>,
) {
    let mut symbols = Vec::with_capacity(word.len());
    let mut letter = [0; 4];
    for character in word.chars() {
        match ids.get(&*character.encode_utf8(&mut letter)) {
            Some(&id) => symbols.push(id),
            None => foreign.push(character),
        }
    }
    // A chain, so that a merge costs the same however long the word is.
    let count = symbols.len();
    let mut next: Vec<usize> = (1..=count).map(|at| if at < count { at } else { NONE }).collect();
    let mut before: Vec<usize> = (0..count).map(|at| at.checked_sub(1).unwrap_or(NONE)).collect();
    let mut gone = vec![false; count];
    let mut queue = BinaryHeap::new();
    let candidate = |symbols: &[u32], left: usize, right: usize| {
        let pair = (symbols[left], symbols[right]);
        merges.get(&pair).map(|&(rank, _)| Reverse((rank, left, right, pair)))
    };
    queue.extend((1..count).filter_map(|right| candidate(&symbols, right - 1, right)));
    while let Some(Reverse((_, left, right, pair))) = queue.pop() {
        if gone[left] || gone[right] || next[left] != right || (symbols[left], symbols[right]) != pair {
            continue;
        }
        symbols[left] = merges[&pair].1;
        gone[right] = true;
        next[left] = next[right];
        if next[left] != NONE {
            before[next[left]] = left;
            queue.extend(candidate(&symbols, left, next[left]));
        }
        if before[left] != NONE {
            queue.extend(candidate(&symbols, before[left], left));
        }
    }
    into.extend(symbols.into_iter().zip(gone).filter(|(_, gone)| !gone).map(|(id, _)| id));
}
