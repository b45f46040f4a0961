// Convolution 3×3 with stride 2×2 and reflect padding 1; one invocation takes 8 neighbouring positions
// of the output and 8 of its channels, so that an element of x serves 8 products and one of the weight too.
//   y[b, t, f, o] = bias[o] + Σ_{i, j, c} weight[i, j, c, o] · x[b, reflect(2t + i − 1), reflect(2f + j − 1), c]
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
@group(0) @binding(1) var<storage, read> x: array<f32>;            // [batch · time from first_source, frequency, cin]
@group(0) @binding(2) var<storage, read> weight: array<vec4<f32>>; // [3, 3, cin, padded / 4]
@group(0) @binding(3) var<storage, read> bias: array<f32>;         // [cout]
@group(0) @binding(4) var<storage, read_write> y: array<f32>;      // [rows of batch · out_time from first_row, out_frequency, cout]

override WIDTH: u32 = 64u;

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
    return (row * i32(params.frequency) + column) * i32(params.cin);
}

fn bias_at(channel: u32) -> f32 {
    return select(0.0, bias[min(channel, params.cout - 1u)], channel < params.cout);
}

fn put(p: u32, channel: u32, low: vec4<f32>, high: vec4<f32>) {
    if p >= params.rows * params.out_frequency {
        return;
    }
    let at = p * params.cout + channel;
    let left = params.cout - channel;
    y[at] = low.x;
    if left > 1u { y[at + 1u] = low.y; }
    if left > 2u { y[at + 2u] = low.z; }
    if left > 3u { y[at + 3u] = low.w; }
    if left > 4u { y[at + 4u] = high.x; }
    if left > 5u { y[at + 5u] = high.y; }
    if left > 6u { y[at + 6u] = high.z; }
    if left > 7u { y[at + 7u] = high.w; }
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

    let low = vec4<f32>(bias_at(channel), bias_at(channel + 1u), bias_at(channel + 2u), bias_at(channel + 3u));
    let high = vec4<f32>(bias_at(channel + 4u), bias_at(channel + 5u), bias_at(channel + 6u), bias_at(channel + 7u));
    var low0 = low; var high0 = high;
    var low1 = low; var high1 = high;
    var low2 = low; var high2 = high;
    var low3 = low; var high3 = high;
    var low4 = low; var high4 = high;
    var low5 = low; var high5 = high;
    var low6 = low; var high6 = high;
    var low7 = low; var high7 = high;
    var at = channel / 4u;
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
            for (var c = 0; c < i32(params.cin); c++) {
                let w = weight[at];
                let v = weight[at + 1u];
                at += params.padded / 4u;
                let s0 = x[x0 + c]; low0 += s0 * w; high0 += s0 * v;
                let s1 = x[x1 + c]; low1 += s1 * w; high1 += s1 * v;
                let s2 = x[x2 + c]; low2 += s2 * w; high2 += s2 * v;
                let s3 = x[x3 + c]; low3 += s3 * w; high3 += s3 * v;
                let s4 = x[x4 + c]; low4 += s4 * w; high4 += s4 * v;
                let s5 = x[x5 + c]; low5 += s5 * w; high5 += s5 * v;
                let s6 = x[x6 + c]; low6 += s6 * w; high6 += s6 * v;
                let s7 = x[x7 + c]; low7 += s7 * w; high7 += s7 * v;
            }
        }
    }
    put(p, channel, low0, high0);
    put(p + 1u, channel, low1, high1);
    put(p + 2u, channel, low2, high2);
    put(p + 3u, channel, low3, high3);
    put(p + 4u, channel, low4, high4);
    put(p + 5u, channel, low5, high5);
    put(p + 6u, channel, low6, high6);
    put(p + 7u, channel, low7, high7);
}
