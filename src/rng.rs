//! Counter-based random numbers: the same u32 stream in WGSL (`shaders/shared/rng.wgsl`) and in Rust.
//!
//! The generator is Philox 2x32 with 10 rounds (Salmon et al., *Parallel random numbers: as easy as
//! 1, 2, 3*, SC 2011): a pure function of a 64-bit counter and a 32-bit key, so that any element of
//! any draw can be computed alone, again, and in any order.

const MULTIPLIER: u32 = 0xD256_D193;
const WEYL: u32 = 0x9E37_79B9;

/// Philox 2x32-10: two random words for the counter `[low, high]` under `key`.
pub fn philox(counter: [u32; 2], key: u32) -> [u32; 2] {
    let ([mut a, mut b], mut key) = (counter, key);
    for _ in 0..10 {
        let product = u64::from(MULTIPLIER) * u64::from(a);
        (a, b) = ((product >> 32) as u32 ^ key ^ b, product as u32);
        key = key.wrapping_add(WEYL);
    }
    [a, b]
}

/// One key of several words (seed, step, stream …), for [`philox`].
pub fn mix(words: &[u32]) -> u32 {
    words.iter().enumerate().fold(0, |key, (i, &word)| philox([word, i as u32], key)[0])
}

/// FNV-1a of a path name: the stream that belongs to a named place in a model.
pub fn stream(name: &str) -> u32 {
    name.bytes().fold(0x811C_9DC5, |h, byte| (h ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

/// Uniform in [0, 1), from the upper 24 bits of a word.
pub fn unit(word: u32) -> f32 {
    (word >> 8) as f32 * (1.0 / 16_777_216.0)
}

/// A standard normal value from two words (Box-Muller).
pub fn normal(words: [u32; 2]) -> f64 {
    let u = (f64::from(words[0] >> 8) + 1.0) / 16_777_216.0;
    let v = f64::from(words[1] >> 8) / 16_777_216.0;
    (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
}

/// A sequential generator over [`philox`], for the CPU's own draws (shuffling, initial weights).
#[derive(Debug, Clone)]
pub struct Rng {
    key: u32,
    counter: u64,
}

impl Rng {
    /// The generator of the named place `words`: equal words, equal numbers.
    pub fn new(words: &[u32]) -> Self {
        Self { key: mix(words), counter: 0 }
    }

    fn words(&mut self) -> [u32; 2] {
        let counter = self.counter;
        self.counter += 1;
        philox([counter as u32, (counter >> 32) as u32], self.key)
    }

    /// Uniform in [0, 1).
    pub fn unit(&mut self) -> f32 {
        unit(self.words()[0])
    }

    /// A standard normal value.
    pub fn normal(&mut self) -> f64 {
        normal(self.words())
    }

    /// Uniform in `0..n`; 0 for `n = 0`.
    pub fn below(&mut self, n: usize) -> usize {
        let [a, b] = self.words();
        let word = u64::from(a) << 32 | u64::from(b);
        ((u128::from(word) * n as u128) >> 64) as usize
    }

    /// Shuffles in place (Fisher-Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Known answers of the generator's authors (Random123, `kat_vectors`).
    #[test]
    fn philox_known_answers() {
        assert_eq!(philox([0, 0], 0), [0xff1d_ae59, 0x6cd1_0df2]);
        assert_eq!(philox([u32::MAX, u32::MAX], u32::MAX), [0x2c3f_628b, 0xab4f_d7ad]);
        assert_eq!(philox([0x243f_6a88, 0x85a3_08d3], 0x1319_8a2e), [0xdd7c_e038, 0xf62a_4c12]);
    }

    #[test]
    fn draws_are_uniform_and_normal() {
        let mut rng = Rng::new(&[1, 2]);
        let n = 20_000;
        let mean = (0..n).map(|_| f64::from(rng.unit())).sum::<f64>() / f64::from(n);
        assert!((mean - 0.5).abs() < 0.01, "{mean}");
        let square = (0..n).map(|_| rng.normal().powi(2)).sum::<f64>() / f64::from(n);
        assert!((square - 1.0).abs() < 0.05, "{square}");
        assert!((0..1000).all(|_| rng.below(7) < 7));
    }
}
