// Depthwise convolution over time; one invocation takes 8 neighboring frames of a channel and slides
// their inputs through registers.
//   y[b, t, c] = bias[c] + Σ_k weight[c, k] · x[b, t + k − left, c], x = 0 outside 0 .. lengths[b]
//! workgroup map
#import shared/grid

struct Params {
    batch: u32,
    time: u32,
    channels: u32,
    kernel: u32,
    left: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;       // [batch, time, channels]
@group(0) @binding(2) var<storage, read> weight: array<f32>;  // [channels, 1, kernel]
@group(0) @binding(3) var<storage, read> bias: array<f32>;    // [channels]
@group(0) @binding(4) var<storage, read> lengths: array<u32>; // [batch]
@group(0) @binding(5) var<storage, read_write> y: array<f32>; // [batch, time, channels]

override WORKGROUP_SIZE: u32 = 64u;

fn load(first: i32, t: i32, length: i32) -> f32 {
    if t < 0 || t >= length {
        return 0.0;
    }
    return x[first + t * i32(params.channels)];
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = linear_group(group, groups) * WORKGROUP_SIZE + lane;
    let tiles = (params.time + 7u) / 8u;
    let block = i / params.channels;
    let channel = i - block * params.channels;
    let utterance = block / tiles;
    let t = (block - utterance * tiles) * 8u;
    if utterance >= params.batch {
        return;
    }
    let length = i32(min(lengths[utterance], params.time));
    let first = i32(utterance * params.time * params.channels + channel);
    let left = i32(t) - i32(params.left);
    var low = vec4<f32>(
        load(first, left, length), load(first, left + 1, length),
        load(first, left + 2, length), load(first, left + 3, length),
    );
    var high = vec4<f32>(
        load(first, left + 4, length), load(first, left + 5, length),
        load(first, left + 6, length), load(first, left + 7, length),
    );
    var sum_low = vec4<f32>(bias[channel]);
    var sum_high = sum_low;
    for (var k = 0u; k < params.kernel; k++) {
        let w = weight[channel * params.kernel + k];
        sum_low += w * low;
        sum_high += w * high;
        low = vec4<f32>(low.yzw, high.x);
        high = vec4<f32>(high.yzw, load(first, left + 8 + i32(k), length));
    }
    let at = u32(first) + t * params.channels;
    let frames = params.time - t;
    y[at] = sum_low.x;
    if frames > 1u { y[at + params.channels] = sum_low.y; }
    if frames > 2u { y[at + 2u * params.channels] = sum_low.z; }
    if frames > 3u { y[at + 3u * params.channels] = sum_low.w; }
    if frames > 4u { y[at + 4u * params.channels] = sum_high.x; }
    if frames > 5u { y[at + 5u * params.channels] = sum_high.y; }
    if frames > 6u { y[at + 6u * params.channels] = sum_high.z; }
    if frames > 7u { y[at + 7u * params.channels] = sum_high.w; }
}
