// Counter-based random numbers, word for word those of src/rng.rs: Philox 2x32 with 10 rounds.
const PHILOX_MULTIPLIER: u32 = 0xD256D193u;
const PHILOX_WEYL: u32 = 0x9E3779B9u;

// The upper word of a·b, from products of 16-bit parts.
fn multiply_high(a: u32, b: u32) -> u32 {
    let a_low = a & 0xFFFFu;
    let a_high = a >> 16u;
    let b_low = b & 0xFFFFu;
    let b_high = b >> 16u;
    let middle = a_high * b_low + ((a_low * b_low) >> 16u);
    let carry = a_low * b_high + (middle & 0xFFFFu);
    return a_high * b_high + (middle >> 16u) + (carry >> 16u);
}

fn philox_round(counter: vec2<u32>, key: u32) -> vec2<u32> {
    let high = multiply_high(PHILOX_MULTIPLIER, counter.x);
    return vec2<u32>(high ^ key ^ counter.y, PHILOX_MULTIPLIER * counter.x);
}

fn philox(counter: vec2<u32>, key: u32) -> vec2<u32> {
    var words = philox_round(counter, key);
    words = philox_round(words, key + PHILOX_WEYL);
    words = philox_round(words, key + 2u * PHILOX_WEYL);
    words = philox_round(words, key + 3u * PHILOX_WEYL);
    words = philox_round(words, key + 4u * PHILOX_WEYL);
    words = philox_round(words, key + 5u * PHILOX_WEYL);
    words = philox_round(words, key + 6u * PHILOX_WEYL);
    words = philox_round(words, key + 7u * PHILOX_WEYL);
    words = philox_round(words, key + 8u * PHILOX_WEYL);
    return philox_round(words, key + 9u * PHILOX_WEYL);
}

// One key of four words.
fn mix_key(words: vec4<u32>) -> u32 {
    var key = philox(vec2<u32>(words.x, 0u), 0u).x;
    key = philox(vec2<u32>(words.y, 1u), key).x;
    key = philox(vec2<u32>(words.z, 2u), key).x;
    return philox(vec2<u32>(words.w, 3u), key).x;
}
