// First level of the depthwise convolution's weight gradient; one invocation sums a chunk of an utterance's
// frames for 8 neighboring taps of a channel, and slides x through registers.
//   partial[chunk, k, c] = Σ_{t in chunk} dy[b, t, c] · x[b, t + k − left, c], x = 0 outside 0 .. lengths[b]
//   partial[chunk, kernel, c] = Σ_{t in chunk} dy[b, t, c]
#import shared/grid

struct Params {
    batch: u32,
    time: u32,
    channels: u32,
    kernel: u32,
    left: u32,
    chunk: u32,
    chunks: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;             // [batch, time, channels]
@group(0) @binding(2) var<storage, read> dy: array<f32>;            // [batch, time, channels]
@group(0) @binding(3) var<storage, read> lengths: array<u32>;       // [batch]
@group(0) @binding(4) var<storage, read_write> partial: array<f32>; // [batch · chunks, kernel + 1, channels]

override WIDTH: u32 = 64u;

fn load(first: i32, t: i32, length: i32) -> f32 {
    if t < 0 || t >= length {
        return 0.0;
    }
    return x[first + t * i32(params.channels)];
}

fn put(at: u32, tap: u32, value: f32) {
    if tap < params.kernel {
        partial[at + tap * params.channels] = value;
    }
}

@compute @workgroup_size(WIDTH)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = linear_group(group, groups) * WIDTH + lane;
    let tap_tiles = (params.kernel + 7u) / 8u;
    let outer = i / params.channels;
    let channel = i - outer * params.channels;
    let chunk = outer / tap_tiles;
    let tap = (outer - chunk * tap_tiles) * 8u;
    let utterance = chunk / params.chunks;
    let start = (chunk - utterance * params.chunks) * params.chunk;
    if utterance >= params.batch {
        return;
    }
    let end = min(start + params.chunk, params.time);
    let length = i32(min(lengths[utterance], params.time));
    let first = i32(utterance * params.time * params.channels + channel);
    let left = i32(start + tap) - i32(params.left);
    var low = vec4<f32>(
        load(first, left, length), load(first, left + 1, length),
        load(first, left + 2, length), load(first, left + 3, length),
    );
    var high = vec4<f32>(
        load(first, left + 4, length), load(first, left + 5, length),
        load(first, left + 6, length), load(first, left + 7, length),
    );
    var sum_low = vec4<f32>();
    var sum_high = vec4<f32>();
    var sum = 0.0;
    for (var t = start; t < end; t++) {
        let d = dy[u32(first) + t * params.channels];
        sum_low += d * low;
        sum_high += d * high;
        sum += d;
        low = vec4<f32>(low.yzw, high.x);
        high = vec4<f32>(high.yzw, load(first, left + 8 + i32(t - start), length));
    }
    let at = chunk * (params.kernel + 1u) * params.channels + channel;
    put(at, tap, sum_low.x);
    put(at, tap + 1u, sum_low.y);
    put(at, tap + 2u, sum_low.z);
    put(at, tap + 3u, sum_low.w);
    put(at, tap + 4u, sum_high.x);
    put(at, tap + 5u, sum_high.y);
    put(at, tap + 6u, sum_high.z);
    put(at, tap + 7u, sum_high.w);
    if tap == 0u {
        partial[at + params.kernel * params.channels] = sum;
    }
}
