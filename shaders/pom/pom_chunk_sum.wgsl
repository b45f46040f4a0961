// Weighted sums over chunks of frames; one invocation takes a column of one chunk.
//   sums[c] = Σ_{t in chunk c} w_t x_t
//! workgroup map
#import shared/grid

struct Params {
    first: u32,
    batches: u32,
    time: u32,
    columns: u32,
    chunk: u32,
    chunks: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;          // [batches, time, columns]
@group(0) @binding(2) var<storage, read> weight: array<f32>;     // [batch, time]
@group(0) @binding(3) var<storage, read_write> sums: array<f32>; // [batches, chunks, columns]

override WORKGROUP_SIZE: u32 = 64u;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = linear_group(group, groups) * WORKGROUP_SIZE + lane;
    let block = i / params.columns;
    if block >= params.batches * params.chunks {
        return;
    }
    let column = i - block * params.columns;
    let batch = block / params.chunks;
    let chunk = block - batch * params.chunks;
    let begin = chunk * params.chunk;
    let end = min(begin + params.chunk, params.time);
    var total = 0.0;
    for (var t = begin; t < end; t++) {
        let w = weight[(params.first + batch) * params.time + t];
        total += w * x[(batch * params.time + t) * params.columns + column];
    }
    sums[i] = total;
}
