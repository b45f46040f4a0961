// The additive angular margin of a class's cosine.
const LEAST_SQUARE: f32 = 1e-6; // of a sine, so that its derivative is finite

// 1 − x², not below LEAST_SQUARE.
fn square_of_sine(x: f32) -> f32 {
    return max((1.0 - x) * (1.0 + x), LEAST_SQUARE);
}
