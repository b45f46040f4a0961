// Convolution 3×3 with stride 2×2 and reflect padding 1; one invocation takes 8 neighboring positions
// of the output and 8 of its channels, so that every element that is loaded serves 8 products.
//   y[b, t, f, o] = bias[o] + Σ_{i, j, c} weight[i, j, c, o] · x[b, reflect(2t + i − 1), reflect(2f + j − 1), c]
//! workgroup map
#import shared/grid
#import conv/reflect

struct Params {
    rows: u32,
    first_row: u32,
    first_source: u32,
    time: u32,
    frequency: u32,
    cin: u32,
    out_time: u32,
    out_frequency: u32,
    padded: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;      // [batch · time from first_source, frequency, cin / 4]; in f16 too
@group(0) @binding(2) var<storage, read> weight: array<vec4<f32>>; // [3, 3, cin, padded / 4]
@group(0) @binding(3) var<storage, read> bias: array<vec4<f32>>;   // [padded / 4]
@group(0) @binding(4) var<storage, read_write> y: array<vec4<f32>>; // [rows of batch · out_time from first_row, out_frequency, padded / 4]; in f16 too

override WORKGROUP_SIZE: u32 = 64u;

// Where position `p` reads: the first row of its utterance in x, and the first row and column of its window.
fn window(p: u32) -> vec3<i32> {
    let local = p / params.out_frequency;
    let column = p - local * params.out_frequency;
    let row = params.first_row + local;
    let utterance = row / params.out_time;
    let frame = row - utterance * params.out_time;
    return vec3<i32>(
        i32(utterance * params.time) - i32(params.first_source),
        2 * i32(frame) - 1,
        2 * i32(column) - 1,
    );
}

// The window of the next position, or the same where there is none.
fn next(window: vec3<i32>, exists: bool) -> vec3<i32> {
    var n = window + vec3<i32>(0, 0, 2);
    if n.z >= 2 * i32(params.out_frequency) - 1 {
        n = vec3<i32>(n.x, n.y + 2, -1);
    }
    if n.y >= 2 * i32(params.out_time) - 1 {
        n = vec3<i32>(n.x + i32(params.time), -1, n.z);
    }
    return select(window, n, exists);
}

fn source(window: vec3<i32>, i: i32, j: i32) -> i32 {
    let row = window.x + reflect(window.y + i, i32(params.time));
    let column = reflect(window.z + j, i32(params.frequency));
    return (row * i32(params.frequency) + column) * i32(params.cin / 4u);
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = linear_group(group, groups) * WORKGROUP_SIZE + lane;
    let blocks = params.padded / 8u;
    let tile = i / blocks;
    let channel4 = (i - tile * blocks) * 2u;
    let positions = params.rows * params.out_frequency;
    let p = tile * 8u;
    if p >= positions {
        return;
    }
    let window0 = window(p);
    let window1 = next(window0, p + 1u < positions);
    let window2 = next(window1, p + 2u < positions);
    let window3 = next(window2, p + 3u < positions);
    let window4 = next(window3, p + 4u < positions);
    let window5 = next(window4, p + 5u < positions);
    let window6 = next(window5, p + 6u < positions);
    let window7 = next(window6, p + 7u < positions);

    let low = bias[channel4];
    let high = bias[channel4 + 1u];
    var low0 = low; var high0 = high;
    var low1 = low; var high1 = high;
    var low2 = low; var high2 = high;
    var low3 = low; var high3 = high;
    var low4 = low; var high4 = high;
    var low5 = low; var high5 = high;
    var low6 = low; var high6 = high;
    var low7 = low; var high7 = high;
    var at = channel4;
    let stride = params.padded / 4u;
    for (var i = 0; i < 3; i++) {
        for (var j = 0; j < 3; j++) {
            let x0 = source(window0, i, j);
            let x1 = source(window1, i, j);
            let x2 = source(window2, i, j);
            let x3 = source(window3, i, j);
            let x4 = source(window4, i, j);
            let x5 = source(window5, i, j);
            let x6 = source(window6, i, j);
            let x7 = source(window7, i, j);
            for (var c = 0; c < i32(params.cin / 4u); c++) {
                let w0 = weight[at];
                let v0 = weight[at + 1u];
                let w1 = weight[at + stride];
                let v1 = weight[at + stride + 1u];
                let w2 = weight[at + 2u * stride];
                let v2 = weight[at + 2u * stride + 1u];
                let w3 = weight[at + 3u * stride];
                let v3 = weight[at + 3u * stride + 1u];
                at += 4u * stride;
                let s0 = x[x0 + c];
                low0 = low0 + s0.x * w0 + s0.y * w1 + s0.z * w2 + s0.w * w3;
                high0 = high0 + s0.x * v0 + s0.y * v1 + s0.z * v2 + s0.w * v3;
                let s1 = x[x1 + c];
                low1 = low1 + s1.x * w0 + s1.y * w1 + s1.z * w2 + s1.w * w3;
                high1 = high1 + s1.x * v0 + s1.y * v1 + s1.z * v2 + s1.w * v3;
                let s2 = x[x2 + c];
                low2 = low2 + s2.x * w0 + s2.y * w1 + s2.z * w2 + s2.w * w3;
                high2 = high2 + s2.x * v0 + s2.y * v1 + s2.z * v2 + s2.w * v3;
                let s3 = x[x3 + c];
                low3 = low3 + s3.x * w0 + s3.y * w1 + s3.z * w2 + s3.w * w3;
                high3 = high3 + s3.x * v0 + s3.y * v1 + s3.z * v2 + s3.w * v3;
                let s4 = x[x4 + c];
                low4 = low4 + s4.x * w0 + s4.y * w1 + s4.z * w2 + s4.w * w3;
                high4 = high4 + s4.x * v0 + s4.y * v1 + s4.z * v2 + s4.w * v3;
                let s5 = x[x5 + c];
                low5 = low5 + s5.x * w0 + s5.y * w1 + s5.z * w2 + s5.w * w3;
                high5 = high5 + s5.x * v0 + s5.y * v1 + s5.z * v2 + s5.w * v3;
                let s6 = x[x6 + c];
                low6 = low6 + s6.x * w0 + s6.y * w1 + s6.z * w2 + s6.w * w3;
                high6 = high6 + s6.x * v0 + s6.y * v1 + s6.z * v2 + s6.w * v3;
                let s7 = x[x7 + c];
                low7 = low7 + s7.x * w0 + s7.y * w1 + s7.z * w2 + s7.w * w3;
                high7 = high7 + s7.x * v0 + s7.y * v1 + s7.z * v2 + s7.w * v3;
            }
        }
    }
    // One piece of code that stores: drivers compile less.
    let end = min(p + 8u, positions);
    for (var position = p; position < end; position++) {
        let to = position * stride + channel4;
        y[to] = low0;
        y[to + 1u] = high0;
        low0 = low1;
        high0 = high1;
        low1 = low2;
        high1 = high2;
        low2 = low3;
        high2 = high3;
        low3 = low4;
        high3 = high4;
        low4 = low5;
        high4 = high5;
        low5 = low6;
        high5 = high6;
        low6 = low7;
        high6 = high7;
    }
}
