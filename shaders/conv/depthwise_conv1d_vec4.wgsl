// Depthwise convolution over time for channels that four divides, and its gradient: one invocation takes 16
// neighboring frames of four channels and slides their inputs through registers, four taps a pass.
//   y[b, t, c] = bias[c] + Σ_k weight[k, c] · x[b, t + k − left, c], x = 0 outside 0 .. lengths[b]
//   backward: y[b, t, c] = Σ_k weight[kernel − 1 − k, c] · x[b, t + k − left, c] in 0 .. lengths[b], else 0
//! workgroup map
#import shared/grid
#import conv/taps

struct Params {
    batch: u32,
    time: u32,
    channels: u32,
    kernel: u32,
    left: u32,
    backward: u32, // 1: the gradient
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;       // [batch, time, channels]; in f16 too
@group(0) @binding(2) var<storage, read> weight: array<vec4<f32>>;  // [kernel, channels]
@group(0) @binding(3) var<storage, read> bias: array<vec4<f32>>;    // [channels]; not read for the gradient
@group(0) @binding(4) var<storage, read> lengths: array<u32>;       // [batch]
@group(0) @binding(5) var<storage, read_write> y: array<vec4<f32>>; // [batch, time, channels]; in f16 too

override WORKGROUP_SIZE: u32 = 64u;

// The same for all, and no override constant: drivers compile one kernel.
fn is_backward() -> bool {
    return params.backward != 0u;
}

// The weight of a tap, 0 behind the last.
fn tap(column: u32, k: u32) -> vec4<f32> {
    let last = params.kernel - 1u;
    let known = min(k, last);
    let row = select(known, last - known, is_backward());
    return select(vec4<f32>(), weight[row * (params.channels / 4u) + column], k <= last);
}

fn put(at: u32, t: u32, length: u32, value: vec4<f32>) {
    if t < params.time {
        y[at + t * (params.channels / 4u)] = select(value, vec4<f32>(), is_backward() && t >= length);
    }
}

fn put_four(at: u32, t: u32, length: u32, value: mat4x4<f32>) {
    put(at, t, length, value[0]);
    put(at, t + 1u, length, value[1]);
    put(at, t + 2u, length, value[2]);
    put(at, t + 3u, length, value[3]);
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = linear_group(group, groups) * WORKGROUP_SIZE + lane;
    let columns = params.channels / 4u;
    let tiles = (params.time + 15u) / 16u;
    let block = i / columns;
    let column = i - block * columns;
    let utterance = block / tiles;
    let t = (block - utterance * tiles) * 16u;
    if utterance >= params.batch {
        return;
    }
    let length = min(lengths[utterance], params.time);
    let known = select(length, params.time, is_backward());
    let first = utterance * params.time * columns + column;
    let left = i32(t) - i32(params.left);
    var x0 = mat4x4<f32>();
    var x1 = mat4x4<f32>();
    var x2 = mat4x4<f32>();
    var x3 = mat4x4<f32>();
    var start = vec4<f32>();
    if !is_backward() {
        start = bias[column];
    }
    var y0 = mat4x4<f32>(start, start, start, start);
    var y1 = y0;
    var y2 = y0;
    var y3 = y0;
    // The first four turns only fill the registers; so there is one piece of code that loads, and below one that stores,
    // and drivers compile less.
    for (var turn = -16; turn < i32(params.kernel); turn += 4) {
        let x4 = frames(first, left + 16 + turn, known);
        if turn >= 0 {
            let k = u32(turn);
            let w = mat4x4<f32>(tap(column, k), tap(column, k + 1u), tap(column, k + 2u), tap(column, k + 3u));
            y0 += taps(x0, x1, w);
            y1 += taps(x1, x2, w);
            y2 += taps(x2, x3, w);
            y3 += taps(x3, x4, w);
        }
        x0 = x1;
        x1 = x2;
        x2 = x3;
        x3 = x4;
    }
    let end = min(t + 16u, params.time);
    for (var at = t; at < end; at += 4u) {
        put_four(first, at, length, y0);
        y0 = y1;
        y1 = y2;
        y2 = y3;
    }
}
