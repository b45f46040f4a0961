// Second level of the selective scan: what each chunk starts from, in place; one invocation takes one state of
// a channel through all chunks.
//   S_0 = 0,  S_{c+1} = exp(A Σ_{t in c} Δ_t) S_c + (states behind chunk c alone);   border ← S_c
//! workgroup map
#import shared/grid

struct Params {
    batch: u32,
    channels: u32,
    chunks: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a_log: array<f32>;        // [channels, 16]
@group(0) @binding(2) var<storage, read_write> border: array<f32>; // [batch, chunks, 17, channels]

override WORKGROUP_SIZE: u32 = 64u;
override DESCEND: bool = false;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = linear_group(group, groups) * WORKGROUP_SIZE + lane;
    let row = i / params.channels;
    if row >= params.batch * 16u {
        return;
    }
    let channel = i - row * params.channels;
    let batch = row / 16u;
    let n = row - batch * 16u;
    let rate = -exp(a_log[channel * 16u + n]);
    var state = 0.0;
    for (var step = 0u; step < params.chunks; step++) {
        let chunk = select(step, params.chunks - 1u - step, DESCEND);
        let first = (batch * params.chunks + chunk) * 17u;
        let at = (first + n) * params.channels + channel;
        let own = border[at];
        border[at] = state;
        state = exp(rate * border[(first + 16u) * params.channels + channel]) * state + own;
    }
}
