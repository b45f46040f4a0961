// Gradient of the convolution's input; one invocation takes 8 columns of one parity and 8 channels.
//   dx[b, s, g, c] = Σ weight[i, j, o, c] · dy[b, t, f, o] over reflect(2t + i − 1) = s, reflect(2f + j − 1) = g, all o
// Even s: t = s/2, i = 1. Odd s: t in {(s − 1)/2, (s + 1)/2}, i in {0, 2}, of which the mirror's edges use all four.
#import shared/grid
#import shared/reflect

struct Params {
    rows: u32,
    first_row: u32,
    first_source: u32,
    time: u32,
    frequency: u32,
    cin: u32,
    out_time: u32,
    out_frequency: u32,
    cout: u32,
    padded: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> dy: array<f32>;           // [batch · out_time from first_source, out_frequency, cout]
@group(0) @binding(2) var<storage, read> weight: array<vec4<f32>>; // [3, 3, cout, padded / 4]
@group(0) @binding(3) var<storage, read_write> dx: array<f32>;     // [rows of batch · time from first_row, frequency, cin]

override WIDTH: u32 = 64u;

// Whether output column f sees input column g through the window's column j.
fn sees(f: i32, g: i32, j: i32) -> bool {
    let size = i32(params.frequency);
    return g < size && f < i32(params.out_frequency) && reflect(2 * f + j - 1, size) == g;
}

fn put(row: u32, column: u32, channel: u32, low: vec4<f32>, high: vec4<f32>) {
    if column >= params.frequency {
        return;
    }
    let at = (row * params.frequency + column) * params.cin + channel;
    let left = params.cin - channel;
    dx[at] = low.x;
    if left > 1u { dx[at + 1u] = low.y; }
    if left > 2u { dx[at + 2u] = low.z; }
    if left > 3u { dx[at + 3u] = low.w; }
    if left > 4u { dx[at + 4u] = high.x; }
    if left > 5u { dx[at + 5u] = high.y; }
    if left > 6u { dx[at + 6u] = high.z; }
    if left > 7u { dx[at + 7u] = high.w; }
}

@compute @workgroup_size(WIDTH)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = linear_group(group, groups) * WIDTH + lane;
    let blocks = params.padded / 8u;
    let tile = i / blocks;
    let channel = (i - tile * blocks) * 8u;
    // Tiles of 8 columns of one parity: half of them even, half of them odd.
    let tiles = (params.out_frequency + 7u) / 8u;
    let half = tile / tiles;
    let first = i32((tile - half * tiles) * 8u);
    let local = half / 2u;
    let parity = i32(half & 1u);
    if local >= params.rows {
        return;
    }
    let row = params.first_row + local;
    let utterance = row / params.time;
    let frame = i32(row - utterance * params.time);
    let odd = frame & 1;
    let top = i32(utterance * params.out_time) - i32(params.first_source);

    var low0 = vec4<f32>(); var high0 = vec4<f32>();
    var low1 = vec4<f32>(); var high1 = vec4<f32>();
    var low2 = vec4<f32>(); var high2 = vec4<f32>();
    var low3 = vec4<f32>(); var high3 = vec4<f32>();
    var low4 = vec4<f32>(); var high4 = vec4<f32>();
    var low5 = vec4<f32>(); var high5 = vec4<f32>();
    var low6 = vec4<f32>(); var high6 = vec4<f32>();
    var low7 = vec4<f32>(); var high7 = vec4<f32>();
    let cout = i32(params.cout);
    for (var pair = 0; pair < 4; pair++) {
        let t = frame / 2 + pair / 2;
        let i = select(1, (pair & 1) * 2, odd == 1);
        if (odd == 0 && pair > 0) || t >= i32(params.out_time) || reflect(2 * t + i - 1, i32(params.time)) != frame {
            continue;
        }
        for (var side = 0; side < 4; side++) {
            let j = select(1, (side & 1) * 2, parity == 1);
            let f = first + side / 2;
            let g = 2 * first + parity;
            let see0 = sees(f, g, j);
            let see1 = sees(f + 1, g + 2, j);
            let see2 = sees(f + 2, g + 4, j);
            let see3 = sees(f + 3, g + 6, j);
            let see4 = sees(f + 4, g + 8, j);
            let see5 = sees(f + 5, g + 10, j);
            let see6 = sees(f + 6, g + 12, j);
            let see7 = sees(f + 7, g + 14, j);
            let none = !(see0 || see1 || see2 || see3 || see4 || see5 || see6 || see7);
            if none || (parity == 0 && side > 0) {
                continue;
            }
            let base = (top + t) * i32(params.out_frequency);
            let end = i32(params.out_frequency) - 1;
            let y0 = (base + min(f, end)) * cout;
            let y1 = (base + min(f + 1, end)) * cout;
            let y2 = (base + min(f + 2, end)) * cout;
            let y3 = (base + min(f + 3, end)) * cout;
            let y4 = (base + min(f + 4, end)) * cout;
            let y5 = (base + min(f + 5, end)) * cout;
            let y6 = (base + min(f + 6, end)) * cout;
            let y7 = (base + min(f + 7, end)) * cout;
            var at = u32((i * 3 + j) * cout) * (params.padded / 4u) + channel / 4u;
            for (var c = 0; c < cout; c++) {
                let w = weight[at];
                let v = weight[at + 1u];
                at += params.padded / 4u;
                let s0 = select(0.0, dy[y0 + c], see0); low0 += s0 * w; high0 += s0 * v;
                let s1 = select(0.0, dy[y1 + c], see1); low1 += s1 * w; high1 += s1 * v;
                let s2 = select(0.0, dy[y2 + c], see2); low2 += s2 * w; high2 += s2 * v;
                let s3 = select(0.0, dy[y3 + c], see3); low3 += s3 * w; high3 += s3 * v;
                let s4 = select(0.0, dy[y4 + c], see4); low4 += s4 * w; high4 += s4 * v;
                let s5 = select(0.0, dy[y5 + c], see5); low5 += s5 * w; high5 += s5 * v;
                let s6 = select(0.0, dy[y6 + c], see6); low6 += s6 * w; high6 += s6 * v;
                let s7 = select(0.0, dy[y7 + c], see7); low7 += s7 * w; high7 += s7 * v;
            }
        }
    }
    let column = u32(2 * first + parity);
    put(local, column, channel, low0, high0);
    put(local, column + 2u, channel, low1, high1);
    put(local, column + 4u, channel, low2, high2);
    put(local, column + 6u, channel, low3, high3);
    put(local, column + 8u, channel, low4, high4);
    put(local, column + 10u, channel, low5, high5);
    put(local, column + 12u, channel, low6, high6);
    put(local, column + 14u, channel, low7, high7);
}
