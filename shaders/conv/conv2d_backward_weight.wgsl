// First level of the convolution's weight gradient; one invocation sums a chunk of output frames for a row of
// 3 taps, 4 input channels and 8 output channels, and slides its window along the frequencies.
//   partial[chunk, 9c + 3i + j, o] = Σ_{(b, t) in chunk, f} x[b, reflect(2t + i − 1), reflect(2f + j − 1), c] · dy[b, t, f, o]
//   partial[chunk, 9·cin, o] = Σ_{(b, t) in chunk, f} dy[b, t, f, o]
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
    chunk: u32,
    chunks: u32,
    first_chunk: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;        // [batch · time from first_source, frequency, cin / 4]; in f16 too
@group(0) @binding(2) var<storage, read> dy: array<vec4<f32>>;       // [rows of batch · out_time from first_row, out_frequency, padded / 4]; in f16 too
@group(0) @binding(3) var<storage, read_write> partial: array<vec4<f32>>; // [all chunks, 9 · cin + 1, padded / 4]

override WORKGROUP_SIZE: u32 = 64u;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = linear_group(group, groups) * WORKGROUP_SIZE + lane;
    let blocks = params.padded / 8u;
    let channels4 = params.cin / 4u;
    let outer = i / channels4;
    let channel4 = i - outer * channels4;
    let strip = outer / blocks;
    let block = outer - strip * blocks;
    let chunk = strip / 3u;
    let tap = strip - chunk * 3u;
    if chunk >= params.chunks {
        return;
    }
    var low00 = vec4<f32>(); var high00 = vec4<f32>();
    var low01 = vec4<f32>(); var high01 = vec4<f32>();
    var low02 = vec4<f32>(); var high02 = vec4<f32>();
    var low03 = vec4<f32>(); var high03 = vec4<f32>();
    var low10 = vec4<f32>(); var high10 = vec4<f32>();
    var low11 = vec4<f32>(); var high11 = vec4<f32>();
    var low12 = vec4<f32>(); var high12 = vec4<f32>();
    var low13 = vec4<f32>(); var high13 = vec4<f32>();
    var low20 = vec4<f32>(); var high20 = vec4<f32>();
    var low21 = vec4<f32>(); var high21 = vec4<f32>();
    var low22 = vec4<f32>(); var high22 = vec4<f32>();
    var low23 = vec4<f32>(); var high23 = vec4<f32>();
    var low = vec4<f32>(); var high = vec4<f32>();
    let time = i32(params.time);
    let frequency = i32(params.frequency);
    let step = i32(channels4);
    let last = min((chunk + 1u) * params.chunk, params.rows);
    for (var local = chunk * params.chunk; local < last; local++) {
        let row = params.first_row + local;
        let utterance = row / params.out_time;
        let t = reflect(2 * i32(row - utterance * params.out_time) + i32(tap) - 1, time);
        let source = (i32(utterance) * time - i32(params.first_source) + t) * frequency * step + i32(channel4);
        // The column left of the first one is the mirror's.
        var x0 = x[source + step];
        var at = local * params.out_frequency * (params.padded / 4u) + block * 2u;
        for (var f = 0; f < i32(params.out_frequency); f++) {
            let d = dy[at];
            let e = dy[at + 1u];
            at += params.padded / 4u;
            let x1 = x[source + 2 * f * step];
            let x2 = x[source + reflect(2 * f + 1, frequency) * step];
            low += d; high += e;
            low00 += x0.x * d; high00 += x0.x * e;
            low01 += x0.y * d; high01 += x0.y * e;
            low02 += x0.z * d; high02 += x0.z * e;
            low03 += x0.w * d; high03 += x0.w * e;
            low10 += x1.x * d; high10 += x1.x * e;
            low11 += x1.y * d; high11 += x1.y * e;
            low12 += x1.z * d; high12 += x1.z * e;
            low13 += x1.w * d; high13 += x1.w * e;
            low20 += x2.x * d; high20 += x2.x * e;
            low21 += x2.y * d; high21 += x2.y * e;
            low22 += x2.z * d; high22 += x2.z * e;
            low23 += x2.w * d; high23 += x2.w * e;
            x0 = x2;
        }
    }
    let stride = params.padded / 4u;
    let start = (params.first_chunk + chunk) * (9u * params.cin + 1u);
    let first = (start + 36u * channel4 + 3u * tap) * stride + block * 2u;
    partial[first] = low00; partial[first + 1u] = high00;
    partial[first + 1u * stride] = low10; partial[first + 1u * stride + 1u] = high10;
    partial[first + 2u * stride] = low20; partial[first + 2u * stride + 1u] = high20;
    partial[first + 9u * stride] = low01; partial[first + 9u * stride + 1u] = high01;
    partial[first + 10u * stride] = low11; partial[first + 10u * stride + 1u] = high11;
    partial[first + 11u * stride] = low21; partial[first + 11u * stride + 1u] = high21;
    partial[first + 18u * stride] = low02; partial[first + 18u * stride + 1u] = high02;
    partial[first + 19u * stride] = low12; partial[first + 19u * stride + 1u] = high12;
    partial[first + 20u * stride] = low22; partial[first + 20u * stride + 1u] = high22;
    partial[first + 27u * stride] = low03; partial[first + 27u * stride + 1u] = high03;
    partial[first + 28u * stride] = low13; partial[first + 28u * stride + 1u] = high13;
    partial[first + 29u * stride] = low23; partial[first + 29u * stride + 1u] = high23;
    if channel4 == 0u && tap == 0u {
        let at = (start + 9u * params.cin) * stride + block * 2u;
        partial[at] = low;
        partial[at + 1u] = high;
    }
}
