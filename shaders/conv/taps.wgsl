// Four neighboring channels of sequences in time, four neighboring frames a matrix: column i is frame i.

// Σ_j w[j] ∘ x[i + j] for frames i of four, x the frames of `near` and, behind them, of `far`.
fn taps(near: mat4x4<f32>, far: mat4x4<f32>, w: mat4x4<f32>) -> mat4x4<f32> {
    return mat4x4<f32>(
        (w[0] * near[0] + w[1] * near[1]) + (w[2] * near[2] + w[3] * near[3]),
        (w[0] * near[1] + w[1] * near[2]) + (w[2] * near[3] + w[3] * far[0]),
        (w[0] * near[2] + w[1] * near[3]) + (w[2] * far[0] + w[3] * far[1]),
        (w[0] * near[3] + w[1] * far[0]) + (w[2] * far[1] + w[3] * far[2]),
    );
}

// The frame `t` of the sequence that starts at element `first`, 0 outside 0 .. length.
fn frame(first: u32, t: i32, length: u32) -> vec4<f32> {
    let inside = t >= 0 && t < i32(length);
    let value = x[first + u32(clamp(t, 0, i32(params.time) - 1)) * (params.channels / 4u)];
    return select(vec4<f32>(), value, inside);
}

fn frames(first: u32, t: i32, length: u32) -> mat4x4<f32> {
    return mat4x4<f32>(
        frame(first, t, length),
        frame(first, t + 1, length),
        frame(first, t + 2, length),
        frame(first, t + 3, length),
    );
}
