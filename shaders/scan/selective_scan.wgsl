// Third level of the selective scan: each chunk from its own first states; one invocation takes a channel of one
// chunk.
//   h ← exp(Δ_t A) h + Δ_t u_t B_t,  y_t = C_t·h + D u_t;  0 on padded frames
//! workgroup map
#import shared/grid
#import scan/chunks
#import scan/channel

struct Params {
    first: u32,
    batches: u32,
    time: u32,
    channels: u32,
    chunks: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> u: array<f32>;           // [batches, time, channels]
@group(0) @binding(2) var<storage, read> delta: array<f32>;       // [batches, time, channels]
@group(0) @binding(3) var<storage, read> a_log: array<vec4<f32>>; // [channels, 4]
@group(0) @binding(4) var<storage, read> bc: array<vec4<f32>>;    // [batch, time, 2, 4]
@group(0) @binding(5) var<storage, read> skip: array<f32>;        // [channels]: D
@group(0) @binding(6) var<storage, read> lengths: array<u32>;     // [batch]
@group(0) @binding(7) var<storage, read> border: array<f32>;      // [batch, chunks, 17, channels]
@group(0) @binding(8) var<storage, read_write> y: array<f32>;     // [batches, time, channels]

override WORKGROUP_SIZE: u32 = 64u;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = linear_group(group, groups) * WORKGROUP_SIZE + lane;
    let block = i / params.channels;
    if block >= params.batches * params.chunks {
        return;
    }
    let channel = i - block * params.channels;
    let batch = block / params.chunks;
    let begin = (block - batch * params.chunks) * CHUNK;
    let end = min(begin + CHUNK, params.time);
    let valid = clamp(lengths[params.first + batch], begin, end);
    let count = valid - begin;
    let rate = rates(channel);
    let through = skip[channel];
    let first = batch * params.time * params.channels + channel;
    let at_border = (params.first * params.chunks + block) * BORDER * params.channels + channel;
    var h = border_states(at_border, params.channels);
    for (var k = 0u; k < count; k++) {
        let t = frame(begin, count, k);
        let at = first + t * params.channels;
        let row = (params.first + batch) * params.time + t;
        let step = delta[at];
        let value = u[at];
        h = times(exp_each(step * rate), h) + (step * value) * bc_row(row, 0u);
        y[at] = inner(bc_row(row, 1u), h) + through * value;
    }
    for (var t = valid; t < end; t++) {
        y[first + t * params.channels] = 0.0;
    }
}
