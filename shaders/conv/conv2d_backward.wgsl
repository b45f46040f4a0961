// Gradient of the convolution's input; one invocation takes 8 columns of one parity and 8 channels.
//   dx[b, s, g, c] = Σ weight[i, j, o, c] · dy[b, t, f, o] over reflect(2t + i − 1) = s, reflect(2f + j − 1) = g, all o
// Even s: t = s/2, i = 1. Odd s: t = (s − 1)/2, i = 2 and t = (s + 1)/2, i = 0; beside the mirrors at −1 and
// `time` also t = (s − 1)/2, i = 0 and t = (s + 1)/2, i = 2.
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
    cout: u32,
    padded: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> dy: array<vec4<f32>>;     // [batch · out_time from first_source, out_frequency, cout / 4]; in f16 too
@group(0) @binding(2) var<storage, read> weight: array<vec4<f32>>; // [3, 3, cout, padded / 4]
@group(0) @binding(3) var<storage, read_write> dx: array<vec4<f32>>; // [rows of batch · time from first_row, frequency, padded / 4]; in f16 too

override WORKGROUP_SIZE: u32 = 64u;

// The number of pairs (t, i) to try for a position of this parity; the third and fourth are for the mirrors.
fn pairs(odd: bool, start: bool, end: bool) -> i32 {
    return select(1, select(select(2, 3, start), 4, end), odd);
}

fn tap(pair: i32, odd: bool) -> i32 {
    return select(1, select(0, 2, pair == 0 || pair == 3), odd);
}

// Whether output column f sees input column g through the window's column j.
fn sees(f: i32, g: i32, j: i32) -> bool {
    let size = i32(params.frequency);
    return g < size && f < i32(params.out_frequency) && reflect(2 * f + j - 1, size) == g;
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
    // Tiles of 8 columns of one parity: half of them even, half of them odd.
    let tiles = (params.out_frequency + 7u) / 8u;
    let half = tile / tiles;
    let first = i32((tile - half * tiles) * 8u);
    let local = half / 2u;
    let parity = i32(half & 1u);
    let last = first + 9 >= i32(params.out_frequency);
    let sides = pairs(parity == 1, first == 0, last && params.frequency % 2u == 1u);
    if local >= params.rows {
        return;
    }
    let row = params.first_row + local;
    let utterance = row / params.time;
    let frame = i32(row - utterance * params.time);
    let odd = frame % 2 == 1;
    let mirrored = params.time % 2u == 1u && frame == i32(params.time) - 2;
    let taps = pairs(odd, frame == 1, mirrored);
    let top = i32(utterance * params.out_time) - i32(params.first_source);

    var low0 = vec4<f32>(); var high0 = vec4<f32>();
    var low1 = vec4<f32>(); var high1 = vec4<f32>();
    var low2 = vec4<f32>(); var high2 = vec4<f32>();
    var low3 = vec4<f32>(); var high3 = vec4<f32>();
    var low4 = vec4<f32>(); var high4 = vec4<f32>();
    var low5 = vec4<f32>(); var high5 = vec4<f32>();
    var low6 = vec4<f32>(); var high6 = vec4<f32>();
    var low7 = vec4<f32>(); var high7 = vec4<f32>();
    let channels4 = i32(params.cout / 4u);
    let stride = params.padded / 4u;
    for (var pair = 0; pair < taps; pair++) {
        let t = frame / 2 + (pair & 1);
        let i = tap(pair, odd);
        if t >= i32(params.out_time) || reflect(2 * t + i - 1, i32(params.time)) != frame {
            continue;
        }
        for (var side = 0; side < sides; side++) {
            let f = first + (side & 1);
            let j = tap(side, parity == 1);
            let g = 2 * first + parity;
            let see0 = sees(f, g, j);
            let see1 = sees(f + 1, g + 2, j);
            let see2 = sees(f + 2, g + 4, j);
            let see3 = sees(f + 3, g + 6, j);
            let see4 = sees(f + 4, g + 8, j);
            let see5 = sees(f + 5, g + 10, j);
            let see6 = sees(f + 6, g + 12, j);
            let see7 = sees(f + 7, g + 14, j);
            let base = (top + t) * i32(params.out_frequency);
            let end = i32(params.out_frequency) - 1;
            let y0 = (base + min(f, end)) * channels4;
            let y1 = (base + min(f + 1, end)) * channels4;
            let y2 = (base + min(f + 2, end)) * channels4;
            let y3 = (base + min(f + 3, end)) * channels4;
            let y4 = (base + min(f + 4, end)) * channels4;
            let y5 = (base + min(f + 5, end)) * channels4;
            let y6 = (base + min(f + 6, end)) * channels4;
            let y7 = (base + min(f + 7, end)) * channels4;
            var at = u32(i * 3 + j) * params.cout * stride + channel4;
            for (var c = 0; c < channels4; c++) {
                let w0 = weight[at];
                let v0 = weight[at + 1u];
                let w1 = weight[at + stride];
                let v1 = weight[at + stride + 1u];
                let w2 = weight[at + 2u * stride];
                let v2 = weight[at + 2u * stride + 1u];
                let w3 = weight[at + 3u * stride];
                let v3 = weight[at + 3u * stride + 1u];
                at += 4u * stride;
                let s0 = select(vec4<f32>(), dy[y0 + c], see0);
                low0 = low0 + s0.x * w0 + s0.y * w1 + s0.z * w2 + s0.w * w3;
                high0 = high0 + s0.x * v0 + s0.y * v1 + s0.z * v2 + s0.w * v3;
                let s1 = select(vec4<f32>(), dy[y1 + c], see1);
                low1 = low1 + s1.x * w0 + s1.y * w1 + s1.z * w2 + s1.w * w3;
                high1 = high1 + s1.x * v0 + s1.y * v1 + s1.z * v2 + s1.w * v3;
                let s2 = select(vec4<f32>(), dy[y2 + c], see2);
                low2 = low2 + s2.x * w0 + s2.y * w1 + s2.z * w2 + s2.w * w3;
                high2 = high2 + s2.x * v0 + s2.y * v1 + s2.z * v2 + s2.w * v3;
                let s3 = select(vec4<f32>(), dy[y3 + c], see3);
                low3 = low3 + s3.x * w0 + s3.y * w1 + s3.z * w2 + s3.w * w3;
                high3 = high3 + s3.x * v0 + s3.y * v1 + s3.z * v2 + s3.w * v3;
                let s4 = select(vec4<f32>(), dy[y4 + c], see4);
                low4 = low4 + s4.x * w0 + s4.y * w1 + s4.z * w2 + s4.w * w3;
                high4 = high4 + s4.x * v0 + s4.y * v1 + s4.z * v2 + s4.w * v3;
                let s5 = select(vec4<f32>(), dy[y5 + c], see5);
                low5 = low5 + s5.x * w0 + s5.y * w1 + s5.z * w2 + s5.w * w3;
                high5 = high5 + s5.x * v0 + s5.y * v1 + s5.z * v2 + s5.w * v3;
                let s6 = select(vec4<f32>(), dy[y6 + c], see6);
                low6 = low6 + s6.x * w0 + s6.y * w1 + s6.z * w2 + s6.w * w3;
                high6 = high6 + s6.x * v0 + s6.y * v1 + s6.z * v2 + s6.w * v3;
                let s7 = select(vec4<f32>(), dy[y7 + c], see7);
                low7 = low7 + s7.x * w0 + s7.y * w1 + s7.z * w2 + s7.w * w3;
                high7 = high7 + s7.x * v0 + s7.y * v1 + s7.z * v2 + s7.w * v3;
            }
        }
    }
    // One piece of code that stores: drivers compile less.
    let column = u32(2 * first + parity);
    let end = min(column + 16u, params.frequency);
    for (var g = column; g < end; g += 2u) {
        let to = (local * params.frequency + g) * stride + channel4;
        dx[to] = low0;
        dx[to + 1u] = high0;
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
