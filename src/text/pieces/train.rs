//! Sub-words by byte pair encoding.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, HashSet};

use super::bpe::Merges;
use super::{BOUNDARY, Vocabulary, normalize};
use crate::error::{Error, Result};

type Pair = (u32, u32);

/// A word as ids, and how often it occurs.
struct Word {
    symbols: Vec<u32>,
    count: u64,
}

/// Pairs of neighbors: how often they occur, and in which words.
#[derive(Default)]
struct Pairs {
    counts: HashMap<Pair, u64>,
    words: HashMap<Pair, HashSet<usize>>,
}

impl Pairs {
    fn add(&mut self, at: usize, word: &Word) {
        for pair in word.symbols.windows(2).map(|pair| (pair[0], pair[1])) {
            *self.counts.entry(pair).or_default() += word.count;
            self.words.entry(pair).or_default().insert(at);
        }
    }

    fn remove(&mut self, word: &Word) {
        for pair in word.symbols.windows(2).map(|pair| (pair[0], pair[1])) {
            if let Some(count) = self.counts.get_mut(&pair) {
                *count = count.saturating_sub(word.count);
            }
        }
    }
}

/// The tokens, blank first, and the merges. The order is that of the `tokenizers` library: of pairs that are as frequent
/// as each other, the one with the smaller ids is merged first.
pub(super) fn train<S: AsRef<str>>(
    texts: impl IntoIterator<Item = S>,
    count: usize,
) -> Result<(Vec<String>, Merges)> {
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for text in texts {
        for word in normalize(text.as_ref()).split(' ').filter(|word| !word.is_empty()) {
            *counts.entry(word.to_owned()).or_default() += 1;
        }
    }
    let mut alphabet: BTreeSet<char> = counts.keys().flat_map(|word| word.chars()).collect();
    if alphabet.is_empty() {
        return Err(Error::invalid(
            "the transcripts hold no word to make sub-words of; give labeled data whose text is not empty",
        ));
    }
    alphabet.insert(BOUNDARY);
    if alphabet.len() > count {
        return Err(Error::invalid(format!(
            "{count} sub-words are too few for the {} characters of the transcripts, ▁ included; set \
             finetune.vocabulary = {{ pieces = N }} with a larger N, or correct the texts",
            alphabet.len()
        )));
    }
    let mut tokens = vec![Vocabulary::BLANK_TOKEN.to_owned()];
    tokens.extend(alphabet.iter().map(char::to_string));
    let letters: HashMap<char, u32> = alphabet.into_iter().zip(1..).collect();
    let mut ids: HashMap<String, u32> = tokens.iter().cloned().zip(0..).collect();
    let spell = |(word, count): (String, u64)| {
        let symbols = std::iter::once(BOUNDARY).chain(word.chars()).map(|c| letters[&c]).collect();
        Word { symbols, count }
    };
    let mut words: Vec<Word> = counts.into_iter().map(spell).collect();
    let mut pairs = Pairs::default();
    words.iter().enumerate().for_each(|(at, word)| pairs.add(at, word));
    let mut queue: BinaryHeap<(u64, Reverse<Pair>)> =
        pairs.counts.iter().map(|(&pair, &count)| (count, Reverse(pair))).collect();
    let mut merges = Merges::new();
    while tokens.len() <= count {
        let Some((seen, Reverse(pair))) = queue.pop() else { break };
        let now = pairs.counts.get(&pair).copied().unwrap_or(0);
        if now != seen {
            // Pushed again when it grew; what it has lost since is told here.
            if now > 0 && now < seen {
                queue.push((now, Reverse(pair)));
            }
            continue;
        }
        let merged = format!("{}{}", tokens[pair.0 as usize], tokens[pair.1 as usize]);
        if now == 0 || merges.contains_key(&pair) {
            continue;
        }
        let id = *ids.entry(merged).or_insert_with_key(|merged| {
            tokens.push(merged.clone());
            tokens.len() as u32 - 1
        });
        merges.insert(pair, (merges.len() as u32, id));
        let mut changed = HashSet::new();
        for at in pairs.words.remove(&pair).unwrap_or_default() {
            pairs.remove(&words[at]);
            join(&mut words[at].symbols, pair, id);
            pairs.add(at, &words[at]);
            changed.extend(words[at].symbols.windows(2).map(|pair| (pair[0], pair[1])));
        }
        queue.extend(changed.into_iter().map(|pair| (pairs.counts[&pair], Reverse(pair))));
    }
    Ok((tokens, merges))
}

/// Makes every `pair` of `symbols` one, from the left.
fn join(symbols: &mut Vec<u32>, pair: Pair, id: u32) {
    let mut kept = 0;
    let mut at = 0;
    while at < symbols.len() {
        let both = at + 1 < symbols.len() && (symbols[at], symbols[at + 1]) == pair;
        symbols[kept] = if both { id } else { symbols[at] };
        kept += 1;
        at += if both { 2 } else { 1 };
    }
    symbols.truncate(kept);
}
