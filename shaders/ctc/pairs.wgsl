// CTC walks 2·labels + 1 states: a blank at every even one, label l at state 2l + 1. Log-probabilities of
// states are pairs, a whole number and a rest of magnitude up to 1/2: what a state lacks to the frame's maximum
// can be thousands, of which one float would leave the gradient 3 digits.

// The logarithm of a probability of 0, and what counts as one after a few sums.
const LOG_ZERO: vec2<f32> = vec2<f32>(-1e30, 0.0);
const NEARLY_LOG_ZERO: f32 = -1e29;

// The states of frame `t` that the first frame leads to and that lead to the last: from .x up to .y.
fn reachable(t: i32, frames: i32, states: i32) -> vec2<i32> {
    return vec2<i32>(max(states - 2 * (frames - t), 0), min(states, 2 * t + 2));
}

// Makes the rest small again.
fn carry(a: vec2<f32>) -> vec2<f32> {
    let whole = round(a.y);
    return vec2<f32>(max(a.x + whole, LOG_ZERO.x), a.y - whole);
}

// log(1 + x) for 0 <= x <= 2, within 3e-9 of itself before rounding: 2·artanh(x / (2 + x)).
fn log_1p(x: f32) -> f32 {
    let s = x / (2.0 + x);
    let z = s * s;
    let p = 0.11852130 + z * (0.050509809 + z * 0.17767143);
    return 2.0 * s * (1.0 + z * (0.33333288 + z * (0.20002881 + z * (0.14218172 + z * p))));
}

// log(exp(a) + exp(b) + exp(c))
fn log_sum(a: vec2<f32>, b: vec2<f32>, c: vec2<f32>) -> vec2<f32> {
    let whole = max(a.x, max(b.x, c.x));
    let x = vec3<f32>(a.x - whole + a.y, b.x - whole + b.y, c.x - whole + c.y);
    // In descending order as far as it matters: the largest first.
    let low = min(x.x, x.y);
    let middle = max(x.x, x.y);
    let high = max(middle, x.z);
    let others = exp(low - high) + exp(min(middle, x.z) - high);
    return carry(vec2<f32>(whole, high + log_1p(others)));
}
