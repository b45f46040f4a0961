// The convolution of an x of one channel; one invocation takes a frame of the output and 8 of its channels, keeps
// their weights in registers and slides its window along the frequencies.
//   y[b, t, f, o] = bias[o] + Σ_{i, j} weight[i, j, o] · x[b, reflect(2t + i − 1), reflect(2f + j − 1)]
//! workgroup map
#import shared/grid
#import conv/reflect

struct Params {
    rows: u32,
    first_row: u32,
    first_source: u32,
    time: u32,
    frequency: u32,
    out_time: u32,
    out_frequency: u32,
    padded: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;             // [batch · time from first_source, frequency]; in f16 too
@group(0) @binding(2) var<storage, read> weight: array<vec4<f32>>;  // [3, 3, padded / 4]
@group(0) @binding(3) var<storage, read> bias: array<vec4<f32>>;    // [padded / 4]
@group(0) @binding(4) var<storage, read_write> y: array<vec4<f32>>; // [rows of batch · out_time from first_row, out_frequency, padded / 4]; in f16 too

override WORKGROUP_SIZE: u32 = 64u;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = linear_group(group, groups) * WORKGROUP_SIZE + lane;
    let blocks = params.padded / 8u;
    let local = i / blocks;
    let channel4 = (i - local * blocks) * 2u;
    if local >= params.rows {
        return;
    }
    let stride = params.padded / 4u;
    let bias_low = bias[channel4];
    let bias_high = bias[channel4 + 1u];
    let low00 = weight[channel4]; let high00 = weight[channel4 + 1u];
    let low01 = weight[channel4 + stride]; let high01 = weight[channel4 + stride + 1u];
    let low02 = weight[channel4 + 2u * stride]; let high02 = weight[channel4 + 2u * stride + 1u];
    let low10 = weight[channel4 + 3u * stride]; let high10 = weight[channel4 + 3u * stride + 1u];
    let low11 = weight[channel4 + 4u * stride]; let high11 = weight[channel4 + 4u * stride + 1u];
    let low12 = weight[channel4 + 5u * stride]; let high12 = weight[channel4 + 5u * stride + 1u];
    let low20 = weight[channel4 + 6u * stride]; let high20 = weight[channel4 + 6u * stride + 1u];
    let low21 = weight[channel4 + 7u * stride]; let high21 = weight[channel4 + 7u * stride + 1u];
    let low22 = weight[channel4 + 8u * stride]; let high22 = weight[channel4 + 8u * stride + 1u];
    let time = i32(params.time);
    let frequency = i32(params.frequency);
    let row = params.first_row + local;
    let utterance = row / params.out_time;
    let t = 2 * i32(row - utterance * params.out_time);
    let top = i32(utterance) * time - i32(params.first_source);
    let row0 = (top + reflect(t - 1, time)) * frequency;
    let row1 = (top + t) * frequency;
    let row2 = (top + reflect(t + 1, time)) * frequency;
    // The column left of the first one is the mirror's.
    var x00 = x[row0 + 1];
    var x10 = x[row1 + 1];
    var x20 = x[row2 + 1];
    var at = local * params.out_frequency * stride + channel4;
    for (var f = 0; f < i32(params.out_frequency); f++) {
        let middle = 2 * f;
        let right = reflect(2 * f + 1, frequency);
        let x01 = x[row0 + middle];
        let x02 = x[row0 + right];
        let x11 = x[row1 + middle];
        let x12 = x[row1 + right];
        let x21 = x[row2 + middle];
        let x22 = x[row2 + right];
        y[at] = bias_low
            + x00 * low00 + x01 * low01 + x02 * low02
            + x10 * low10 + x11 * low11 + x12 * low12
            + x20 * low20 + x21 * low21 + x22 * low22;
        y[at + 1u] = bias_high
            + x00 * high00 + x01 * high01 + x02 * high02
            + x10 * high10 + x11 * high11 + x12 * high12
            + x20 * high20 + x21 * high21 + x22 * high22;
        at += stride;
        x00 = x02;
        x10 = x12;
        x20 = x22;
    }
}
