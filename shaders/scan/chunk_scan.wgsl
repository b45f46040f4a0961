// First level of the selective scan: each chunk on its own, from states of 0; one invocation takes a channel of
// one chunk.
//   h ← exp(Δ_t A) h + Δ_t x_t B_t;   ADJOINT: h ← exp(Δ_t A)(h + x_t C_t)
//   border = (h behind the chunk's last frame, Σ Δ_t)
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
@group(0) @binding(1) var<storage, read> x: array<f32>;            // [batches, time, channels]: u; ADJOINT: dy
@group(0) @binding(2) var<storage, read> delta: array<f32>;        // [batches, time, channels]
@group(0) @binding(3) var<storage, read> a_log: array<vec4<f32>>;  // [channels, 4]
@group(0) @binding(4) var<storage, read> bc: array<vec4<f32>>;     // [batch, time, 2, 4]
@group(0) @binding(5) var<storage, read> lengths: array<u32>;      // [batch]
@group(0) @binding(6) var<storage, read_write> border: array<f32>; // [batch, chunks, 17, channels]

override WORKGROUP_SIZE: u32 = 64u;
override ADJOINT: bool = false;

fn put_four(at: u32, value: vec4<f32>) {
    border[at] = value.x;
    border[at + params.channels] = value.y;
    border[at + 2u * params.channels] = value.z;
    border[at + 3u * params.channels] = value.w;
}

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
    let count = clamp(lengths[params.first + batch], begin, end) - begin;
    let rate = rates(channel);
    var h = mat4x4<f32>();
    var total = 0.0;
    for (var k = 0u; k < count; k++) {
        let t = frame(begin, count, k);
        let at = (batch * params.time + t) * params.channels + channel;
        let step = delta[at];
        let vector = bc_row((params.first + batch) * params.time + t, u32(ADJOINT));
        total += step;
        if ADJOINT {
            h = times(exp_each(step * rate), h + x[at] * vector);
        } else {
            h = times(exp_each(step * rate), h) + (step * x[at]) * vector;
        }
    }
    let at = (params.first * params.chunks + block) * BORDER * params.channels + channel;
    put_four(at, h[0]);
    put_four(at + 4u * params.channels, h[1]);
    put_four(at + 8u * params.channels, h[2]);
    put_four(at + 12u * params.channels, h[3]);
    border[at + STATE * params.channels] = total;
}
