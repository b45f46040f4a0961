// What the attention's gradient needs of every query: the lse of its scores and dy_i·y_i; one invocation
// a query of a head.
//! workgroup map
#import shared/grid

struct Params {
    batches: u32,
    first_batch: u32,
    time: u32,
    heads: u32,
    head_dim: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> lse: array<f32>;              // [batch, heads, time]
@group(0) @binding(2) var<storage, read> y: array<f32>;                      // [batches, time, heads, head_dim]
@group(0) @binding(3) var<storage, read> dy: array<f32>;                     // [batches, time, heads, head_dim]
@group(0) @binding(4) var<storage, read_write> lse_delta: array<vec2<f32>>; // [batch, heads, time]

override WORKGROUP_SIZE: u32 = 64u;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = linear_group(group, groups) * WORKGROUP_SIZE + lane;
    let frame = i / params.heads;
    let head = i - frame * params.heads;
    let utterance = frame / params.time;
    if utterance >= params.batches {
        return;
    }
    var delta = 0.0;
    for (var c = 0u; c < params.head_dim; c++) {
        delta += dy[i * params.head_dim + c] * y[i * params.head_dim + c];
    }
    let first = ((params.first_batch + utterance) * params.heads + head) * params.time;
    let row = first + frame - utterance * params.time;
    lse_delta[row] = vec2<f32>(lse[row], delta);
}
