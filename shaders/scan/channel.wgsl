// What an invocation reads that holds all states of a channel.

// A = −exp(A_log)
fn rates(channel: u32) -> mat4x4<f32> {
    let at = channel * 4u;
    return mat4x4<f32>(-exp(a_log[at]), -exp(a_log[at + 1u]), -exp(a_log[at + 2u]), -exp(a_log[at + 3u]));
}

// B of a frame, C with `part` 1.
fn bc_row(row: u32, part: u32) -> mat4x4<f32> {
    let at = row * 8u + part * 4u;
    return mat4x4<f32>(bc[at], bc[at + 1u], bc[at + 2u], bc[at + 3u]);
}

fn border_four(at: u32, channels: u32) -> vec4<f32> {
    return vec4<f32>(border[at], border[at + channels], border[at + 2u * channels], border[at + 3u * channels]);
}

// The states of the border whose first row has the channel at element `at`.
fn border_states(at: u32, channels: u32) -> mat4x4<f32> {
    let four = 4u * channels;
    return mat4x4<f32>(
        border_four(at, channels), border_four(at + four, channels),
        border_four(at + 2u * four, channels), border_four(at + 3u * four, channels),
    );
}
