//! Inputs made of valid ones: bits, numbers and pieces changed.

use polymix::rng::Rng;

/// Numbers that lengths and counts are replaced by.
const EDGES: [u64; 20] = [
    0,
    1,
    2,
    3,
    0x7F,
    0x80,
    0xFF,
    0x100,
    0x7FFF,
    0x8000,
    0xFFFF,
    0x1_0000,
    0x7FFF_FFFF,
    0x8000_0000,
    0xFFFF_FFFE,
    0xFFFF_FFFF,
    0x1_0000_0000,
    0x7FFF_FFFF_FFFF_FFFF,
    0xFFFF_FFFF_FFFF_FFF8,
    u64::MAX,
];

/// Inputs grow no longer than the longest seed by this factor, and some.
const GROWTH: usize = 3;

/// The mutation number `number` of `seeds`. `tokens` are words of the format.
pub fn input(target: &str, number: u64, seeds: &[Vec<u8>], tokens: &[&[u8]]) -> Vec<u8> {
    let name = target.bytes().fold(0, |hash: u32, byte| hash.wrapping_mul(31) + u32::from(byte));
    let mut rng = Rng::new(&[name, number as u32, (number >> 32) as u32]);
    // The seeds themselves come first.
    let mut bytes = seeds[number as usize % seeds.len()].clone();
    if number < seeds.len() as u64 {
        return bytes;
    }
    let longest = seeds.iter().map(Vec::len).max().unwrap_or(0) * GROWTH + 64;
    for _ in 0..1 + rng.below(4) + rng.below(2) * rng.below(8) {
        mutate(&mut bytes, &mut rng, seeds, tokens);
        bytes.truncate(longest);
    }
    bytes
}

/// A place in `length` bytes, as often near the beginning, where headers are, as anywhere.
fn place(rng: &mut Rng, length: usize) -> usize {
    match rng.below(2) {
        0 => rng.below(length.min(96)),
        _ => rng.below(length),
    }
}

fn mutate(bytes: &mut Vec<u8>, rng: &mut Rng, seeds: &[Vec<u8>], tokens: &[&[u8]]) {
    let length = bytes.len();
    if length == 0 {
        bytes.extend((0..1 + rng.below(32)).map(|_| rng.below(256) as u8));
        return;
    }
    let at = place(rng, length);
    let piece = |rng: &mut Rng| {
        let longest = if rng.below(4) == 0 { length } else { 16 };
        1 + rng.below(longest.min(length - at))
    };
    match rng.below(14) {
        0 | 1 => bytes[at] ^= 1 << rng.below(8),
        2 => bytes[at] = rng.below(256) as u8,
        3 => bytes[at] = bytes[at].wrapping_add([1, 255, 16, 240][rng.below(4)]),
        // A number of some width, in either order of bytes.
        4 | 5 => {
            let edge = EDGES[rng.below(EDGES.len())];
            let number = if rng.below(4) == 0 { length as u64 + edge % 9 } else { edge };
            let width = [1, 2, 3, 4, 8][rng.below(5)].min(length - at);
            let mut written = number.to_le_bytes();
            if rng.below(2) == 0 {
                written[..width].reverse();
            }
            bytes[at..at + width].copy_from_slice(&written[..width]);
        }
        6 => {
            let end = at + piece(rng);
            bytes.drain(at..end);
        }
        7 => {
            let piece = bytes[at..at + piece(rng)].to_vec();
            let to = rng.below(length + 1);
            bytes.splice(to..to, piece);
        }
        // The same again and again.
        8 => {
            let piece = bytes[at..at + piece(rng).min(64)].to_vec();
            let many = piece.repeat(1 + rng.below(32));
            bytes.splice(at..at, many);
        }
        9 => {
            let random: Vec<u8> = (0..1 + rng.below(16)).map(|_| rng.below(256) as u8).collect();
            bytes.splice(at..at, random);
        }
        10 => bytes.truncate(at),
        11 if !tokens.is_empty() => {
            let token = tokens[rng.below(tokens.len())].iter().copied();
            let end = if rng.below(2) == 0 { at } else { (at + token.len()).min(length) };
            bytes.splice(at..end, token);
        }
        // Another valid one from here on.
        12 => {
            let other = &seeds[rng.below(seeds.len())];
            let from = rng.below(other.len() + 1);
            bytes.truncate(at);
            bytes.extend(&other[from..]);
        }
        _ => {
            let end = at + piece(rng);
            bytes[at..end].fill([0, 0xFF, b' ', b'9'][rng.below(4)]);
        }
    }
}
