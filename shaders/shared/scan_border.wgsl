// The states of the border whose first row holds element `at` for the channel.
fn load_four(at: u32, channels: u32) -> vec4<f32> {
    return vec4<f32>(border[at], border[at + channels], border[at + 2u * channels], border[at + 3u * channels]);
}

fn load_border(at: u32, channels: u32) -> mat4x4<f32> {
    let four = 4u * channels;
    return mat4x4<f32>(
        load_four(at, channels), load_four(at + four, channels),
        load_four(at + 2u * four, channels), load_four(at + 3u * four, channels),
    );
}
