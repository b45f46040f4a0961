//! An n-gram as a number, in the order of the stored tree.

/// Longest n-gram.
pub const LONGEST: usize = 6;

/// Words of an n-gram as one number, the last word in the highest bits, then the word before it, and so on. Sorted,
/// all n-grams with the same last words lie side by side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Key([u32; 4]);

/// How keys are made: bits of a word.
#[derive(Debug, Clone, Copy)]
pub(super) struct Keys {
    bits: u32,
}

impl Keys {
    /// For `words` different words and n-grams of `order` words; `None` where they do not fit a key.
    pub fn new(words: usize, order: usize) -> Option<Self> {
        let bits = super::bits::width(words as u64).max(1);
        (bits as usize * order <= 128 && bits <= 32).then_some(Self { bits })
    }

    /// The key of words in the order in which they are spoken.
    pub fn of(self, words: &[u32]) -> Key {
        let mut number = 0_u128;
        for (place, &word) in words.iter().rev().enumerate() {
            number |= u128::from(word) << (128 - self.bits * (place as u32 + 1));
        }
        Key::from_number(number)
    }

    /// The word at `place`, counted from the last.
    pub fn word(self, key: Key, place: usize) -> u32 {
        let shifted = key.number() << (self.bits * place as u32);
        (shifted >> (128 - self.bits)) as u32
    }

    /// The last `count` words.
    pub fn suffix(self, key: Key, count: usize) -> Key {
        let kept = self.bits * count as u32;
        Key::from_number(if kept == 0 { 0 } else { key.number() & (u128::MAX << (128 - kept)) })
    }

    /// The words before the last.
    pub fn context(self, key: Key) -> Key {
        Key::from_number(key.number() << self.bits)
    }

    /// The words of an n-gram of `count`, in the order in which they are spoken.
    pub fn words(self, key: Key, count: usize) -> Vec<u32> {
        (0..count).rev().map(|place| self.word(key, place)).collect()
    }
}

impl Key {
    fn number(self) -> u128 {
        self.0.iter().fold(0, |number, &part| number << 32 | u128::from(part))
    }

    fn from_number(number: u128) -> Self {
        Self([96, 64, 32, 0].map(|shift| (number >> shift) as u32))
    }
}

/// An n-gram with its numbers, log10.
#[derive(Debug, Clone, Copy)]
pub(super) struct Gram {
    pub key: Key,
    /// NaN: only n-grams that end like this one are known.
    pub probability: f32,
    pub backoff: f32,
    /// Where it was read; 0 where it was not.
    pub line: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_hold_words_and_sort_by_the_last() {
        let keys = Keys::new(5000, 6).unwrap();
        let words = [17, 0, 4999, 3, 5000, 1];
        let key = keys.of(&words);
        assert_eq!(keys.words(key, 6), words);
        assert_eq!(keys.suffix(key, 2), keys.of(&words[4..]));
        assert_eq!(keys.context(key), keys.of(&words[..5]));
        assert!(keys.of(&[9, 1]) < keys.of(&[0, 2]) && keys.of(&[1]) < keys.of(&[1, 1]));
        assert!(Keys::new(1 << 21, 6).is_none() && Keys::new((1 << 21) - 1, 6).is_some());
    }
}
