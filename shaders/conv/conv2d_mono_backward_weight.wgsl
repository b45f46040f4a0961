// First level of the weight gradient where x has one channel; one invocation sums a chunk of output frames
// for 8 output channels and all 9 taps, and slides its window along the frequencies.
//   partial[chunk, 3i + j, o] = Σ_{(b, t) in chunk, f} x[b, reflect(2t + i − 1), reflect(2f + j − 1)] · dy[b, t, f, o]
//   partial[chunk, 9, o] = Σ_{(b, t) in chunk, f} dy[b, t, f, o]
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
    chunk: u32,
    chunks: u32,
    first_chunk: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;              // [batch · time from first_source, frequency]; in f16 too
@group(0) @binding(2) var<storage, read> dy: array<vec4<f32>>;       // [rows of batch · out_time from first_row, out_frequency, padded / 4]; in f16 too
@group(0) @binding(3) var<storage, read_write> partial: array<vec4<f32>>; // [all chunks, 10, padded / 4]

override WORKGROUP_SIZE: u32 = 64u;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = linear_group(group, groups) * WORKGROUP_SIZE + lane;
    let blocks = params.padded / 8u;
    let chunk = i / blocks;
    let block = i - chunk * blocks;
    if chunk >= params.chunks {
        return;
    }
    var low00 = vec4<f32>(); var high00 = vec4<f32>();
    var low01 = vec4<f32>(); var high01 = vec4<f32>();
    var low02 = vec4<f32>(); var high02 = vec4<f32>();
    var low10 = vec4<f32>(); var high10 = vec4<f32>();
    var low11 = vec4<f32>(); var high11 = vec4<f32>();
    var low12 = vec4<f32>(); var high12 = vec4<f32>();
    var low20 = vec4<f32>(); var high20 = vec4<f32>();
    var low21 = vec4<f32>(); var high21 = vec4<f32>();
    var low22 = vec4<f32>(); var high22 = vec4<f32>();
    var low = vec4<f32>(); var high = vec4<f32>();
    let time = i32(params.time);
    let frequency = i32(params.frequency);
    let last = min((chunk + 1u) * params.chunk, params.rows);
    for (var local = chunk * params.chunk; local < last; local++) {
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
        for (var f = 0; f < i32(params.out_frequency); f++) {
            let at = (local * params.out_frequency + u32(f)) * (params.padded / 4u) + block * 2u;
            let d = dy[at];
            let e = dy[at + 1u];
            let middle = 2 * f;
            let right = reflect(2 * f + 1, frequency);
            let x01 = x[row0 + middle];
            let x02 = x[row0 + right];
            let x11 = x[row1 + middle];
            let x12 = x[row1 + right];
            let x21 = x[row2 + middle];
            let x22 = x[row2 + right];
            low += d; high += e;
            low00 += x00 * d; high00 += x00 * e;
            low01 += x01 * d; high01 += x01 * e;
            low02 += x02 * d; high02 += x02 * e;
            low10 += x10 * d; high10 += x10 * e;
            low11 += x11 * d; high11 += x11 * e;
            low12 += x12 * d; high12 += x12 * e;
            low20 += x20 * d; high20 += x20 * e;
            low21 += x21 * d; high21 += x21 * e;
            low22 += x22 * d; high22 += x22 * e;
            x00 = x02;
            x10 = x12;
            x20 = x22;
        }
    }
    let stride = params.padded / 4u;
    var at = (params.first_chunk + chunk) * 10u * stride + block * 2u;
    partial[at] = low00; partial[at + 1u] = high00; at += stride;
    partial[at] = low01; partial[at + 1u] = high01; at += stride;
    partial[at] = low02; partial[at + 1u] = high02; at += stride;
    partial[at] = low10; partial[at + 1u] = high10; at += stride;
    partial[at] = low11; partial[at + 1u] = high11; at += stride;
    partial[at] = low12; partial[at + 1u] = high12; at += stride;
    partial[at] = low20; partial[at + 1u] = high20; at += stride;
    partial[at] = low21; partial[at + 1u] = high21; at += stride;
    partial[at] = low22; partial[at + 1u] = high22; at += stride;
    partial[at] = low; partial[at + 1u] = high;
}
