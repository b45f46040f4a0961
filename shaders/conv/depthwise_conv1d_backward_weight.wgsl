// First level of the depthwise convolution's weight gradient; one invocation sums a chunk of an utterance's frames for 8
// neighboring taps of a channel, or 16 of four channels, and slides x through registers.
//   partial[chunk, k, c] = Σ_{t in chunk} dy[b, t, c] · x[b, t + k − left, c], x = 0 outside 0 .. lengths[b]
//   partial[chunk, kernel, c] = Σ_{t in chunk} dy[b, t, c]
//! workgroup map
//! variant vec4: needs channels % 4; tile 16; takes 4 an invocation
//! variant scalar: tile 8
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
#if vec4
#import conv/taps

@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;             // [batch, time, channels]; in f16 too
@group(0) @binding(2) var<storage, read> dy: array<vec4<f32>>;            // [batch, time, channels]; in f16 too
@group(0) @binding(3) var<storage, read> lengths: array<u32>;             // [batch]
@group(0) @binding(4) var<storage, read_write> partial: array<vec4<f32>>; // [batch · chunks, kernel + 1, channels]

override WORKGROUP_SIZE: u32 = 64u;

fn gradient(first: u32, t: u32, end: u32) -> vec4<f32> {
    return select(vec4<f32>(), dy[first + min(t, end - 1u) * (params.channels / 4u)], t < end);
}

fn put(at: u32, tap: u32, value: vec4<f32>) {
    if tap < params.kernel {
        partial[at + tap * (params.channels / 4u)] = value;
    }
}

fn put_four(at: u32, tap: u32, value: mat4x4<f32>) {
    put(at, tap, value[0]);
    put(at, tap + 1u, value[1]);
    put(at, tap + 2u, value[2]);
    put(at, tap + 3u, value[3]);
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = linear_group(group, groups) * WORKGROUP_SIZE + lane;
    let columns = params.channels / 4u;
    let tap_tiles = (params.kernel + 15u) / 16u;
    let outer = i / columns;
    let column = i - outer * columns;
    let chunk = outer / tap_tiles;
    let tap = (outer - chunk * tap_tiles) * 16u;
    let utterance = chunk / params.chunks;
    let start = (chunk - utterance * params.chunks) * params.chunk;
    if utterance >= params.batch {
        return;
    }
    let end = min(start + params.chunk, params.time);
    let length = min(lengths[utterance], params.time);
    let first = utterance * params.time * columns + column;
    let left = i32(start + tap) - i32(params.left);
    var x0 = mat4x4<f32>();
    var x1 = mat4x4<f32>();
    var x2 = mat4x4<f32>();
    var x3 = mat4x4<f32>();
    var w0 = mat4x4<f32>();
    var w1 = mat4x4<f32>();
    var w2 = mat4x4<f32>();
    var w3 = mat4x4<f32>();
    var sum = vec4<f32>();
    // The first four turns only fill the registers, as in the convolution.
    for (var turn = -16; turn < i32(end - start); turn += 4) {
        let x4 = frames(first, left + 16 + turn, length);
        if turn >= 0 {
            let t = start + u32(turn);
            let d = mat4x4<f32>(
                gradient(first, t, end),
                gradient(first, t + 1u, end),
                gradient(first, t + 2u, end),
                gradient(first, t + 3u, end),
            );
            w0 += taps(x0, x1, d);
            w1 += taps(x1, x2, d);
            w2 += taps(x2, x3, d);
            w3 += taps(x3, x4, d);
            sum += (d[0] + d[1]) + (d[2] + d[3]);
        }
        x0 = x1;
        x1 = x2;
        x2 = x3;
        x3 = x4;
    }
    let at = chunk * (params.kernel + 1u) * columns + column;
    let last = min(tap + 16u, params.kernel);
    for (var k = tap; k < last; k += 4u) {
        put_four(at, k, w0);
        w0 = w1;
        w1 = w2;
        w2 = w3;
    }
    if tap == 0u {
        partial[at + params.kernel * columns] = sum;
    }
}
#else
@group(0) @binding(1) var<storage, read> x: array<f32>;             // [batch, time, channels]; in f16 too
@group(0) @binding(2) var<storage, read> dy: array<f32>;            // [batch, time, channels]; in f16 too
@group(0) @binding(3) var<storage, read> lengths: array<u32>;       // [batch]
@group(0) @binding(4) var<storage, read_write> partial: array<f32>; // [batch · chunks, kernel + 1, channels]

override WORKGROUP_SIZE: u32 = 64u;

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

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = linear_group(group, groups) * WORKGROUP_SIZE + lane;
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
#endif
