// Gradient of the depthwise convolution's input; one invocation takes 8 neighboring frames of a channel.
//   dx[b, s, c] = Σ_k weight[c, k] · dy[b, s − k + left, c] for s < lengths[b], else 0
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
@group(0) @binding(1) var<storage, read> dy: array<f32>;       // [batch, time, channels]
@group(0) @binding(2) var<storage, read> weight: array<f32>;   // [channels, 1, kernel]
@group(0) @binding(3) var<storage, read> lengths: array<u32>;  // [batch]
@group(0) @binding(4) var<storage, read_write> dx: array<f32>; // [batch, time, channels]

override WORKGROUP_SIZE: u32 = 64u;

fn load(first: i32, t: i32) -> f32 {
    if t < 0 || t >= i32(params.time) {
        return 0.0;
    }
    return dy[first + t * i32(params.channels)];
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
    let first = i32(utterance * params.time * params.channels + channel);
    let left = i32(t + params.left) - i32(params.kernel - 1u);
    var low = vec4<f32>(load(first, left), load(first, left + 1), load(first, left + 2), load(first, left + 3));
    var high = vec4<f32>(load(first, left + 4), load(first, left + 5), load(first, left + 6), load(first, left + 7));
    var sum_low = vec4<f32>();
    var sum_high = vec4<f32>();
    for (var k = 0u; k < params.kernel; k++) {
        let w = weight[(channel + 1u) * params.kernel - 1u - k];
        sum_low += w * low;
        sum_high += w * high;
        low = vec4<f32>(low.yzw, high.x);
        high = vec4<f32>(high.yzw, load(first, left + 8 + i32(k)));
    }
    let valid = vec4<u32>(lengths[utterance]);
    sum_low = select(vec4<f32>(), sum_low, t + vec4<u32>(0u, 1u, 2u, 3u) < valid);
    sum_high = select(vec4<f32>(), sum_high, t + vec4<u32>(4u, 5u, 6u, 7u) < valid);
    let at = u32(first) + t * params.channels;
    let frames = params.time - t;
    dx[at] = sum_low.x;
    if frames > 1u { dx[at + params.channels] = sum_low.y; }
    if frames > 2u { dx[at + 2u * params.channels] = sum_low.z; }
    if frames > 3u { dx[at + 3u * params.channels] = sum_low.w; }
    if frames > 4u { dx[at + 4u * params.channels] = sum_high.x; }
    if frames > 5u { dx[at + 5u * params.channels] = sum_high.y; }
    if frames > 6u { dx[at + 6u * params.channels] = sum_high.z; }
    if frames > 7u { dx[at + 7u * params.channels] = sum_high.w; }
}
