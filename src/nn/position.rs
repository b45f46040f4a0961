//! Absolute sinusoidal positions.

/// PE(t, 2i) = sin(t/10000^(2i/width)), PE(t, 2i+1) = cos(same): [time, width], row-major.
pub fn sinusoid(time: usize, width: usize) -> Vec<f32> {
    sinusoid_from(0, time, width)
}

/// [`sinusoid`] of the `time` frames from number `first` on.
pub fn sinusoid_from(first: usize, time: usize, width: usize) -> Vec<f32> {
    let rate: Vec<f64> =
        (0..width).map(|c| (-(10_000.0_f64.ln()) * (c / 2 * 2) as f64 / width as f64).exp()).collect();
    let value = |t: usize, c: usize| {
        let angle = t as f64 * rate[c];
        if c.is_multiple_of(2) { angle.sin() } else { angle.cos() }
    };
    (0..time * width).map(|i| value(first + i / width, i % width) as f32).collect()
}
