//! The stored form of a language model: a tree of words from the last to the first, packed by bits.
//!
//! All numbers are little-endian.
//!
//! | bytes | what |
//! |---|---|
//! | 8 | `PMXNGRAM` |
//! | 4, 4 | version 1, order |
//! | 8 | bytes of the file |
//! | 8 | checksum of what follows up to the n-grams |
//! | 8, 8 | number of words, bytes of their text |
//! | 56 an order from 2 | number of n-grams, offset, bytes, checksum, lowest probability, lowest backoff, then the bits of a word, a probability, a backoff, a place (one byte each), 4 zeros |
//! | | the words, sorted by bytes, each with a line feed behind it; a word's id is its place |
//! | 12 a word and once more | log10 probability and backoff (f32), and where among the 2-grams those begin that end in this word (u32) |
//! | | the n-grams of 2 words, of 3, … |
//!
//! An n-gram follows those with the same last words, sorted by the word farthest back, of which alone it holds the id;
//! then its probability and, below the highest order, its backoff and where the n-grams begin that end in it, with one
//! entry more at the end. Probability and backoff are log10 in steps of 2⁻²⁰, above the lowest one of the order. Eight
//! zero bytes follow each order.
//!
//! A checksum is the number of bytes, then for every eight of them, the last ones filled up with zeros, or eight zeros where
//! none is left: xor with these, times 9E3779B97F4A7C15₁₆, modulo 2⁶⁴.

use super::bits::{self, PAD, Packer, width};
use super::gram::{Gram, Key, Keys, LONGEST};
use crate::error::{Error, Result};

const MAGIC: &[u8; 8] = b"PMXNGRAM";
const VERSION: u32 = 1;
/// Steps of a stored log10.
const STEPS: f64 = 1_048_576.0;
/// Bytes of the header, of an order's line in it, and of a word's numbers.
const HEADER: usize = 48;
const LINE: usize = 56;
const UNIGRAM: usize = 12;
/// N-grams in more bytes than these are checked by `LanguageModel::verify` alone, not whenever the file is opened.
const CHECKED: usize = 1 << 30;

/// Log10 numbers of a word.
#[derive(Debug, Clone, Copy)]
pub(super) struct Unigram {
    pub probability: f32,
    pub backoff: f32,
}

/// Where the n-grams of an order are, and how wide.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Level {
    pub count: u64,
    offset: usize,
    bytes: usize,
    checksum: u64,
    lowest: [i64; 2],
    word_bits: u32,
    probability_bits: u32,
    backoff_bits: u32,
    place_bits: u32,
}

/// The header.
#[derive(Debug)]
pub(super) struct Layout {
    pub words: Vec<u32>,
    text: usize,
    unigrams: usize,
    pub levels: Vec<Level>,
}

/// A place in the tree and what follows from it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Node {
    pub probability: f64,
    pub backoff: f64,
    /// Of the n-grams with one word more in front.
    pub longer: (u64, u64),
}

impl Level {
    fn stride(&self) -> u32 {
        self.word_bits + self.probability_bits + self.backoff_bits + self.place_bits
    }

    /// Whether n-grams with one word more follow.
    fn inner(&self) -> bool {
        self.place_bits > 0
    }

    fn size(&self) -> Option<usize> {
        let entries = self.count.checked_add(u64::from(self.inner()))?;
        let bits = entries.checked_mul(u64::from(self.stride()))?;
        usize::try_from(bits.div_ceil(8)).ok()?.checked_add(PAD)
    }
}

/// Of all bytes, eight at a time; a change of any one byte changes it.
fn checksum(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    let step = |sum: u64, word: [u8; 8]| (sum ^ u64::from_le_bytes(word)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let sum = words.iter().fold(bytes.len() as u64, |sum, &word| step(sum, word));
    step(sum, last)
}

fn steps(value: f32) -> i64 {
    (f64::from(value) * STEPS).round() as i64
}

/// Lowest of `values` in steps, and the bits for all above it.
fn range(values: impl Iterator<Item = f32> + Clone) -> (i64, u32) {
    let lowest = values.clone().map(steps).min().unwrap_or(0);
    let highest = values.map(steps).max().unwrap_or(0);
    (lowest, width((highest - lowest) as u64))
}

/// Where among the longer n-grams, sorted, those begin that end in each of `mine`, n-grams of `order` words; at the end
/// the number of longer ones.
fn starts(mine: impl Iterator<Item = Key>, longer: &[Gram], keys: Keys, order: usize) -> Vec<u64> {
    let mut at = 0;
    let mut starts = Vec::new();
    for key in mine {
        while longer.get(at).is_some_and(|gram| keys.suffix(gram.key, order) < key) {
            at += 1;
        }
        starts.push(at as u64);
    }
    starts.push(longer.len() as u64);
    starts
}

/// The bytes of a model: `words` sorted, and the n-grams of each order from 2 sorted by key, with all their suffixes.
pub(super) fn write(words: &[String], unigrams: &[Unigram], grams: &[Vec<Gram>], keys: Keys) -> Vec<u8> {
    let after = |order: usize| grams.get(order - 1).map_or(&[][..], Vec::as_slice);
    let mut body = Vec::new();
    for word in words {
        body.extend_from_slice(word.as_bytes());
        body.push(b'\n');
    }
    let text = body.len();
    let single = (0..words.len() as u32).map(|word| keys.of(&[word]));
    let end = Unigram { probability: 0.0, backoff: 0.0 };
    for (unigram, start) in unigrams.iter().chain([&end]).zip(starts(single, after(1), keys, 1)) {
        body.extend(unigram.probability.to_le_bytes());
        body.extend(unigram.backoff.to_le_bytes());
        body.extend((start as u32).to_le_bytes());
    }
    let mut levels = Vec::new();
    let mut table = Vec::new();
    let mut offset = HEADER + LINE * grams.len() + body.len();
    for (mine, order) in grams.iter().zip(2..) {
        let inner = order <= grams.len();
        let mut level = Level { count: mine.len() as u64, offset, ..Level::default() };
        level.word_bits = width(words.len() as u64);
        (level.lowest[0], level.probability_bits) = range(mine.iter().map(|gram| gram.probability));
        let mut places = Vec::new();
        if inner {
            (level.lowest[1], level.backoff_bits) = range(mine.iter().map(|gram| gram.backoff));
            level.place_bits = width(after(order).len() as u64).max(1);
            places = starts(mine.iter().map(|gram| gram.key), after(order), keys, order);
        }
        let mut packer = Packer::default();
        for (index, gram) in mine.iter().enumerate() {
            packer.push(u64::from(keys.word(gram.key, order - 1)), level.word_bits);
            packer.push((steps(gram.probability) - level.lowest[0]) as u64, level.probability_bits);
            if inner {
                packer.push((steps(gram.backoff) - level.lowest[1]) as u64, level.backoff_bits);
                packer.push(places[index], level.place_bits);
            }
        }
        if inner {
            packer.push(0, level.word_bits);
            packer.push(0, level.probability_bits);
            packer.push(0, level.backoff_bits);
            packer.push(after(order).len() as u64, level.place_bits);
        }
        let bytes = packer.finish();
        (level.bytes, level.checksum) = (bytes.len(), checksum(&bytes));
        offset += bytes.len();
        level.write(&mut table);
        levels.push(bytes);
    }
    let mut checked = Vec::new();
    checked.extend((words.len() as u64).to_le_bytes());
    checked.extend((text as u64).to_le_bytes());
    checked.extend(table);
    checked.extend(body);
    let mut file = Vec::with_capacity(offset);
    file.extend(MAGIC);
    file.extend(VERSION.to_le_bytes());
    file.extend((grams.len() as u32 + 1).to_le_bytes());
    file.extend((offset as u64).to_le_bytes());
    file.extend(checksum(&checked).to_le_bytes());
    file.extend(checked);
    levels.into_iter().for_each(|bytes| file.extend(bytes));
    file
}

impl Level {
    fn write(&self, table: &mut Vec<u8>) {
        for number in [self.count, self.offset as u64, self.bytes as u64, self.checksum] {
            table.extend(number.to_le_bytes());
        }
        self.lowest.iter().for_each(|lowest| table.extend(lowest.to_le_bytes()));
        let widths = [self.word_bits, self.probability_bits, self.backoff_bits, self.place_bits];
        table.extend(widths.map(|width| width as u8));
        table.extend([0; 4]);
    }

    fn read(line: &[u8; LINE]) -> Self {
        let number = |index: usize| u64::from_le_bytes(std::array::from_fn(|i| line[8 * index + i]));
        let bits = |index: usize| u32::from(line[48 + index]);
        Self {
            count: number(0),
            offset: usize::try_from(number(1)).unwrap_or(usize::MAX),
            bytes: usize::try_from(number(2)).unwrap_or(usize::MAX),
            checksum: number(3),
            lowest: [number(4) as i64, number(5) as i64],
            word_bits: bits(0),
            probability_bits: bits(1),
            backoff_bits: bits(2),
            place_bits: bits(3),
        }
    }
}

/// Whether a file begins as the stored form does.
pub(super) fn begins(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC)
}

pub(super) fn damaged(what: &str) -> Error {
    Error::invalid(format!("this is no whole language model ({what}); build it again with polymix lm build"))
}

/// The header of `file`, checked.
///
/// # Errors
/// When the file is cut short or damaged, or of a later version.
pub(super) fn read(file: &[u8]) -> Result<Layout> {
    let number = |at: usize| -> Result<u64> {
        let bytes = file.get(at..).and_then(|rest| rest.first_chunk::<8>());
        bytes.map(|bytes| u64::from_le_bytes(*bytes)).ok_or_else(|| damaged("its header ends too early"))
    };
    if !begins(file) {
        return Err(damaged("it does not begin as one"));
    }
    let (version, order) = (number(8)? as u32, (number(8)? >> 32) as usize);
    if version != VERSION {
        return Err(damaged(&format!("its version is {version}, this program reads {VERSION}")));
    }
    if number(16)? != file.len() as u64 {
        return Err(damaged(&format!("its header promises {} bytes, it has {}", number(16)?, file.len())));
    }
    if !(1..=LONGEST).contains(&order) {
        return Err(damaged(&format!("its order is {order}")));
    }
    let (count, text) = (number(32)?, number(40)?);
    let lines = file.get(HEADER..HEADER + LINE * (order - 1)).ok_or_else(|| damaged("its header is cut"))?;
    let levels: Vec<Level> = lines.as_chunks::<LINE>().0.iter().map(Level::read).collect();
    let begin = HEADER + lines.len();
    let below = |number: u64, most: usize| usize::try_from(number).ok().filter(|&number| number < most);
    let (count, text) = (below(count, file.len() / UNIGRAM), below(text, file.len()));
    let (Some(count), Some(text)) = (count.filter(|&count| count < u32::MAX as usize), text) else {
        return Err(damaged("it promises more words than it has bytes"));
    };
    let unigrams = begin + text;
    let mut end = unigrams + UNIGRAM * (count + 1);
    if end > file.len() {
        return Err(damaged("its words are cut"));
    }
    if checksum(&file[32..end]) != number(24)? {
        return Err(damaged("its words are not those that were written"));
    }
    for (level, index) in levels.iter().zip(1..) {
        let widths = [level.word_bits, level.probability_bits, level.backoff_bits, level.place_bits];
        let inner = index < levels.len();
        if widths.iter().any(|&width| width > 48)
            || level.word_bits == 0
            || level.inner() != inner
            || level.offset != end
        {
            return Err(damaged("its header contradicts itself"));
        }
        if level.size() != Some(level.bytes) || level.bytes > file.len() - end {
            return Err(damaged("its n-grams are cut"));
        }
        end += level.bytes;
    }
    if end != file.len() {
        return Err(damaged("it is longer than its header says"));
    }
    let layout = Layout { words: words(&file[begin..unigrams], count)?, text: begin, unigrams, levels };
    let sound = |id| {
        let node = layout.unigram(file, id);
        node.probability.is_finite() && node.backoff.is_finite()
    };
    if !(0..count as u32).all(sound) {
        return Err(damaged("a word's probability is no number"));
    }
    Ok(layout)
}

/// Where the words begin in their text, and its end.
fn words(text: &[u8], count: usize) -> Result<Vec<u32>> {
    if text.len() >= u32::MAX as usize || std::str::from_utf8(text).is_err() {
        return Err(damaged("its words are no text"));
    }
    let ends = text.iter().enumerate().filter(|&(_, &byte)| byte == b'\n').map(|(end, _)| end as u32 + 1);
    let starts: Vec<u32> = [0].into_iter().chain(ends).collect();
    let word = |pair: &[u32]| &text[pair[0] as usize..pair[1] as usize - 1];
    let sorted = starts.windows(3).all(|three| word(&three[..2]) < word(&three[1..]));
    if starts.len() != count + 1 || starts.last() != Some(&(text.len() as u32)) || !sorted {
        return Err(damaged("its words are out of order"));
    }
    Ok(starts)
}

impl Layout {
    /// Number of words.
    pub fn count(&self) -> usize {
        self.words.len() - 1
    }

    /// The word with an id.
    pub fn word<'a>(&self, file: &'a [u8], id: u32) -> &'a str {
        let range = self.text + self.words[id as usize] as usize
            ..self.text + self.words[id as usize + 1] as usize - 1;
        std::str::from_utf8(&file[range]).unwrap_or_default()
    }

    /// The id of a word.
    pub fn id(&self, file: &[u8], word: &str) -> Option<u32> {
        let (mut low, mut high) = (0, self.count() as u32);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.word(file, middle).cmp(word) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Equal => return Some(middle),
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        None
    }

    /// The 1-gram of a word.
    pub fn unigram(&self, file: &[u8], id: u32) -> Node {
        let at = self.unigrams + UNIGRAM * id as usize;
        let number = |at: usize| u32::from_le_bytes(std::array::from_fn(|i| file[at + i]));
        let count = self.levels.first().map_or(0, |level| level.count);
        let place = |at: usize| u64::from(number(at)).min(count);
        Node {
            probability: f64::from(f32::from_bits(number(at))),
            backoff: f64::from(f32::from_bits(number(at + 4))),
            longer: (place(at + 8), place(at + 8 + UNIGRAM)),
        }
    }

    /// The n-gram at `index` of an order, `level` + 2, and the word in front of it.
    pub fn node(&self, file: &[u8], level: usize, index: u64) -> (u32, Node) {
        let form = &self.levels[level];
        let bytes = &file[form.offset..form.offset + form.bytes];
        let at = index * u64::from(form.stride());
        let log = |at: u64, width: u32, lowest: i64| {
            lowest.wrapping_add(bits::get(bytes, at, width) as i64) as f64 / STEPS
        };
        let word = bits::get(bytes, at, form.word_bits) as u32;
        let at = at + u64::from(form.word_bits);
        let probability = log(at, form.probability_bits, form.lowest[0]);
        if !form.inner() {
            return (word, Node { probability, backoff: 0.0, longer: (0, 0) });
        }
        let at = at + u64::from(form.probability_bits);
        let backoff = log(at, form.backoff_bits, form.lowest[1]);
        let at = at + u64::from(form.backoff_bits);
        let count = self.levels.get(level + 1).map_or(0, |level| level.count);
        let place = |at: u64| bits::get(bytes, at, form.place_bits).min(count);
        (word, Node { probability, backoff, longer: (place(at), place(at + u64::from(form.stride()))) })
    }

    /// The n-gram of an order, `level` + 2, among those from `range`, that has `word` in front.
    pub fn find(&self, file: &[u8], level: usize, range: (u64, u64), word: u32) -> Option<Node> {
        let form = self.levels.get(level)?;
        let bytes = &file[form.offset..form.offset + form.bytes];
        let stride = u64::from(form.stride());
        let (mut low, mut high) = range;
        while low < high {
            let middle = low + (high - low) / 2;
            match (bits::get(bytes, middle * stride, form.word_bits) as u32).cmp(&word) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Equal => return Some(self.node(file, level, middle).1),
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        None
    }

    /// Checks the n-grams against their checksums: all, and that none is reached twice, or those of orders that are short
    /// to read.
    ///
    /// # Errors
    /// Names the order that has changed or is out of order.
    pub fn verify(&self, file: &[u8], all: bool) -> Result<()> {
        for (level, order) in self.levels.iter().zip(2..) {
            if (all || level.bytes <= CHECKED)
                && checksum(&file[level.offset..level.offset + level.bytes]) != level.checksum
            {
                return Err(damaged(&format!("its {order}-grams are not those that were written")));
            }
        }
        let rises = |node: Node| node.longer.0 <= node.longer.1;
        if all && !(0..self.count() as u32).all(|id| rises(self.unigram(file, id))) {
            return Err(damaged("its 2-grams are out of order"));
        }
        for (level, order) in self.levels.iter().zip(3..).filter(|(level, _)| all && level.inner()) {
            if !(0..level.count).all(|index| rises(self.node(file, order - 3, index).1)) {
                return Err(damaged(&format!("its {order}-grams are out of order")));
            }
        }
        Ok(())
    }
}
