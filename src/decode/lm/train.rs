//! Language models from text: interpolated modified Kneser-Ney (Chen & Goodman 1998).

use std::collections::HashMap;

use super::builder::{Builder, LOWEST, Word};
use super::gram::{Key, Keys};
use super::{END, LONGEST, LanguageModel, START, UNKNOWN, is_unknown};
use crate::decode::hash::FastMap;
use crate::error::{Error, Result};

/// Ids while counting.
const START_ID: u32 = 0;
const END_ID: u32 = 1;
/// Discounts of n-grams that were seen once, twice, and more often, where counts of counts give none.
const FALLBACK: [f64; 3] = [0.5, 1.0, 1.5];

/// The sentences that a model is made of.
#[derive(Debug)]
pub struct Counts {
    order: usize,
    ids: HashMap<String, u32>,
    words: Vec<String>,
    /// The sentences, each from `<s>` to `</s>`.
    text: Vec<u32>,
}

/// A model, and what is to be said of it.
#[derive(Debug)]
pub struct Trained {
    /// The model.
    pub model: LanguageModel,
    /// Where discounts could not be had from the text, a sentence an order.
    pub notes: Vec<String>,
}

/// The n-grams of one length, sorted, with their adjusted counts.
struct Level {
    keys: Vec<Key>,
    counts: Vec<u64>,
    discounts: [f64; 3],
}

/// Statistics of the words that follow a context.
#[derive(Clone, Copy, Default)]
struct Following {
    total: f64,
    /// Words that follow once, twice, more often.
    times: [u32; 3],
}

impl Counts {
    /// Before the first sentence of a model of n-grams up to `order`.
    ///
    /// # Errors
    /// When the order is not from 1 to 6.
    pub fn new(order: usize) -> Result<Self> {
        if !(1..=LONGEST).contains(&order) {
            return Err(Error::usage(format!("the order {order} is not from 1 to {LONGEST}; give another")));
        }
        let words = vec![START.to_owned(), END.to_owned()];
        Ok(Self { order, ids: HashMap::new(), words, text: Vec::new() })
    }

    /// Adds a sentence: words with white space between them. One without words counts too.
    ///
    /// # Errors
    /// When it holds a word that models keep for themselves.
    pub fn add(&mut self, sentence: &str) -> Result<()> {
        let begin = self.text.len();
        self.text.push(START_ID);
        for word in sentence.split_whitespace() {
            if [START, END].contains(&word) || is_unknown(word) {
                self.text.truncate(begin);
                return Err(Error::invalid(format!(
                    "{word} is a mark of language models; remove it from the text"
                )));
            }
            let id = match self.ids.get(word) {
                Some(&id) => id,
                None => {
                    let id = self.words.len() as u32;
                    self.words.push(word.to_owned());
                    self.ids.insert(word.to_owned(), id);
                    id
                }
            };
            self.text.push(id);
        }
        self.text.push(END_ID);
        Ok(())
    }

    /// The model of the sentences.
    ///
    /// # Errors
    /// When there is no word, or more than the order allows.
    pub fn train(mut self) -> Result<Trained> {
        self.ids = HashMap::new();
        if self.words.len() == 2 {
            return Err(Error::invalid("the text holds no word; give sentences, one a line"));
        }
        let keys = Keys::new(self.words.len(), self.order).ok_or_else(|| {
            let words = self.words.len();
            Error::invalid(format!("{words} words are too many for order {}; take a lower one", self.order))
        })?;
        let mut notes = Vec::new();
        let mut levels = self.levels(keys);
        self.text = Vec::new();
        for (level, order) in levels.iter_mut().zip(1..) {
            match discounts(&level.counts) {
                Ok(discounts) => level.discounts = discounts,
                Err(reason) => notes.push(format!(
                    "{order}-grams: {reason}, so that there are no discounts of their own; 0.5, 1 and 1.5 are used"
                )),
            }
        }
        let bytes = self.estimate(&levels, keys)?;
        Ok(Trained { model: LanguageModel::parse(bytes)?, notes })
    }

    /// Adjusted counts: the longest n-grams, and those that begin a sentence, as often as they are there; of the
    /// others, the number of words that stand before them.
    fn levels(&self, keys: Keys) -> Vec<Level> {
        let sentences = || self.text.split_inclusive(|&word| word == END_ID);
        let mut longest: Vec<Key> =
            sentences().flat_map(|s| s.windows(self.order)).map(|words| keys.of(words)).collect();
        longest.retain(|&key| self.order > 1 || keys.word(key, 0) != START_ID);
        longest.sort_unstable();
        let mut levels = vec![runs(longest.into_iter())];
        for order in (1..self.order).rev() {
            let longer = &levels[levels.len() - 1].keys;
            let after = runs(longer.iter().map(|&key| keys.suffix(key, order)));
            let mut begins: Vec<Key> =
                sentences().filter(|s| s.len() >= order && order > 1).map(|s| keys.of(&s[..order])).collect();
            begins.sort_unstable();
            levels.push(merged(after, runs(begins.into_iter())));
        }
        // `<s>` is a context only: it is never predicted, and no word counts for it.
        let start = Level { keys: vec![keys.of(&[START_ID])], counts: vec![0], discounts: FALLBACK };
        let words = levels.pop().map(|words| merged(words, start));
        levels.extend(words);
        levels.reverse();
        levels
    }

    /// The stored form, from adjusted counts.
    fn estimate(self, levels: &[Level], keys: Keys) -> Result<Vec<u8>> {
        let nothing = FastMap::from_iter([(keys.of(&[]), 0)]);
        let (mut contexts, mut following) = followings(&levels[0], &nothing, 1, keys);
        // Without <s>, with <unk>.
        let uniform = 1.0 / self.words.len() as f64;
        let mut shorter: Vec<f64> = Vec::new();
        let mut builder: Option<(Builder, Vec<u32>)> = None;
        for (level, order) in levels.iter().zip(1..) {
            let gamma = |following: &Following| {
                let kept: f64 =
                    level.discounts.iter().zip(following.times).map(|(d, n)| d * f64::from(n)).sum();
                kept / following.total
            };
            let mut suffix = 0;
            let mut probabilities = Vec::with_capacity(level.keys.len());
            for (index, (&key, &count)) in level.keys.iter().zip(&level.counts).enumerate() {
                let lower = if order == 1 {
                    uniform
                } else {
                    while levels[order - 2].keys[suffix] < keys.suffix(key, order - 1) {
                        suffix += 1;
                    }
                    shorter[suffix]
                };
                let following = &following[contexts[index] as usize];
                let discount = level.discounts[(count.clamp(1, 3) - 1) as usize];
                let own = (count as f64 - discount).max(0.0) / following.total;
                probabilities.push(own + gamma(following) * lower);
            }
            let unknown = gamma(&following[0]) * uniform;
            let mut backoffs = vec![0.0; level.keys.len()];
            if let Some(longer) = levels.get(order) {
                let places = level.keys.iter().copied().zip(0_u32..).collect();
                (contexts, following) = followings(longer, &places, level.keys.len(), keys);
                for (backoff, following) in backoffs.iter_mut().zip(&following).filter(|(_, f)| f.total > 0.0)
                {
                    let kept = longer.discounts.iter().zip(following.times).map(|(d, n)| d * f64::from(n));
                    *backoff = ((kept.sum::<f64>() / following.total).log10() as f32).max(LOWEST);
                }
            }
            let log = |probability: f64| (probability.log10() as f32).max(LOWEST);
            match &mut builder {
                None => {
                    let word = |text: &str, probability: f32, backoff: f32| Word {
                        text: text.to_owned(),
                        probability,
                        backoff,
                        line: 0,
                    };
                    let mut unigrams = vec![word(UNKNOWN, log(unknown), 0.0)];
                    for ((&key, &p), &backoff) in level.keys.iter().zip(&probabilities).zip(&backoffs) {
                        let id = keys.word(key, 0);
                        let p = if id == START_ID { LOWEST } else { log(p) };
                        unigrams.push(word(&self.words[id as usize], p, backoff));
                    }
                    let new = Builder::new(self.order, unigrams).map_err(|(error, _)| error)?;
                    let ids = self.words.iter().map(|word| new.id(word).unwrap_or_default()).collect();
                    builder = Some((new, ids));
                }
                Some((builder, ids)) => {
                    for ((&key, &p), &backoff) in level.keys.iter().zip(&probabilities).zip(&backoffs) {
                        let words: Vec<u32> =
                            keys.words(key, order).iter().map(|&word| ids[word as usize]).collect();
                        builder.push(&words, log(p), backoff, 0);
                    }
                }
            }
            shorter = probabilities;
        }
        let finished = builder.map(|(builder, _)| builder.finish());
        finished
            .and_then(std::result::Result::ok)
            .ok_or_else(|| Error::invalid("an n-gram was counted twice"))
    }
}

/// The different keys of a sorted sequence, and how often each is there.
fn runs(sorted: impl Iterator<Item = Key>) -> Level {
    let mut level = Level { keys: Vec::new(), counts: Vec::new(), discounts: FALLBACK };
    for key in sorted {
        match level.counts.last_mut() {
            Some(count) if level.keys.last() == Some(&key) => *count += 1,
            _ => {
                level.keys.push(key);
                level.counts.push(1);
            }
        }
    }
    level
}

/// Two levels without a key in common as one.
fn merged(a: Level, b: Level) -> Level {
    let mut all: Vec<(Key, u64)> = a.keys.into_iter().zip(a.counts).collect();
    all.extend(b.keys.into_iter().zip(b.counts));
    // Two sorted runs: a stable sort finds and merges them.
    all.sort_by_key(|&(key, _)| key);
    let (keys, counts) = all.into_iter().unzip();
    Level { keys, counts, discounts: FALLBACK }
}

/// D1, D2 and D3+ from the numbers of n-grams that were counted once, twice, three and four times.
fn discounts(counts: &[u64]) -> Result<[f64; 3], String> {
    let times = |times: u64| counts.iter().filter(|&&count| count == times).count() as f64;
    let times = [1, 2, 3, 4].map(times);
    if let Some(none) = times[..3].iter().position(|&n| n == 0.0) {
        return Err(format!("none is counted exactly {} times", none + 1));
    }
    let y = times[0] / (times[0] + 2.0 * times[1]);
    let discounts: [f64; 3] =
        std::array::from_fn(|i| (i + 1) as f64 - (i + 2) as f64 * y * times[i + 1] / times[i]);
    match discounts.iter().zip(1..).find(|&(d, i)| !(0.0..=f64::from(i)).contains(d)) {
        Some((discount, i)) => Err(format!("the discount of a count of {i} would be {discount:.3}")),
        None => Ok(discounts),
    }
}

/// Of each n-gram of `level` the place of its context, and of each of `count` contexts what follows.
fn followings(
    level: &Level,
    places: &FastMap<Key, u32>,
    count: usize,
    keys: Keys,
) -> (Vec<u32>, Vec<Following>) {
    let mut following = vec![Following::default(); count];
    let mut contexts = Vec::with_capacity(level.keys.len());
    for (&key, &times) in level.keys.iter().zip(&level.counts) {
        let place = places.get(&keys.context(key)).copied().unwrap_or_default();
        contexts.push(place);
        if times > 0 {
            following[place as usize].total += times as f64;
            following[place as usize].times[(times.min(3) - 1) as usize] += 1;
        }
    }
    (contexts, following)
}
