// cos(π/2 · q / 2^22) for q in 0 ..= 2^22, by its Taylor series within 1e-7.
fn quarter_cosine(q: u32) -> f32 {
    let a = f32(q) * 3.7450702e-7;
    let s = a * a;
    return 1.0 - s * (0.5 - s * (0.041666668 - s * (1.3888889e-3 - s * (2.4801587e-5 - s * (2.7557319e-7 - s * 2.0876757e-9)))));
}

// A standard normal value of two words (Box-Muller): sqrt(−2 ln u)·cos(2πv), u in (0, 1], v in [0, 1).
// Logarithm and cosine are spelled out: built-in ones differ between devices by up to 5e-4.
fn normal(words: vec2<u32>) -> f32 {
    let n = (words.x >> 8u) + 1u;
    let exponent = firstLeadingBit(n);
    let mantissa = f32(n) / f32(1u << exponent);
    let halve = mantissa > 1.4142135;
    let m = select(mantissa, 0.5 * mantissa, halve);
    let power = f32(exponent) - 24.0 + select(0.0, 1.0, halve);
    let r = (m - 1.0) / (m + 1.0);
    let s = r * r;
    let log_m = 2.0 * r * (1.0 + s * (0.33333334 + s * (0.2 + s * (0.14285715 + s * 0.11111111))));
    let radius = sqrt(max(-2.0 * (log_m + power * 0.6931472), 0.0));
    let v = words.y >> 8u;
    let quadrant = v >> 22u;
    let rest = v & 0x3FFFFFu;
    let cosine = quarter_cosine(select(rest, 0x400000u - rest, (quadrant & 1u) == 1u));
    return radius * select(cosine, -cosine, quadrant == 1u || quadrant == 2u);
}
