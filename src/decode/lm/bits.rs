//! Bit packing: numbers of any width.

/// Bytes behind the last number, so that every number can be read by one load of eight bytes.
pub(super) const PAD: usize = 8;

/// Bits that hold all numbers up to `largest`.
pub(super) fn width(largest: u64) -> u32 {
    u64::BITS - largest.leading_zeros()
}

/// The number of `width` bits, at most 56, that begins at bit `at`; 0 where the bytes end before it.
pub(super) fn get(bytes: &[u8], at: u64, width: u32) -> u64 {
    let first = (at / 8) as usize;
    let Some(word) = bytes.get(first..).and_then(|rest| rest.first_chunk::<8>()) else { return 0 };
    (u64::from_le_bytes(*word) >> (at % 8)) & ((1 << width) - 1)
}

/// Appends numbers to bytes.
#[derive(Debug, Default)]
pub(super) struct Packer {
    bytes: Vec<u8>,
    held: u64,
    filled: u32,
}

impl Packer {
    /// Appends the lowest `width` bits of `number`, at most 56; the others must be zero.
    pub fn push(&mut self, number: u64, width: u32) {
        debug_assert!(width <= 56 && number >> width == 0, "{number} does not fit {width} bits");
        self.held |= number << self.filled;
        self.filled += width;
        while self.filled >= 8 {
            self.bytes.push(self.held as u8);
            self.held >>= 8;
            self.filled -= 8;
        }
    }

    /// The bytes, with [`PAD`] zeros behind them.
    pub fn finish(mut self) -> Vec<u8> {
        if self.filled > 0 {
            self.bytes.push(self.held as u8);
        }
        self.bytes.extend([0; PAD]);
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_all_widths_come_back() {
        let numbers: Vec<(u64, u32)> =
            (0..400).map(|i: u32| (0x9E37_79B9_7F4A_7C15_u64.rotate_left(i), i % 57)).collect();
        let mut packer = Packer::default();
        for &(number, width) in &numbers {
            packer.push(number & ((1 << width) - 1), width);
        }
        let bytes = packer.finish();
        let mut at = 0;
        for (number, width) in numbers {
            assert_eq!(get(&bytes, at, width), number & ((1 << width) - 1));
            at += u64::from(width);
        }
        assert_eq!(get(&bytes, 8 * bytes.len() as u64, 8), 0);
        assert_eq!([0, 1, 2, 255, 256].map(width), [0, 1, 2, 8, 9]);
    }
}
