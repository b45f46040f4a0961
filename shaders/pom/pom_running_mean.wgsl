// Turns sums within chunks into running means in place; one invocation takes a column of one chunk.
//   y_t ← rate_t·(y_t + carry of its chunk)
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
@group(0) @binding(1) var<storage, read> carry: array<f32>;   // [batches, chunks, columns]
@group(0) @binding(2) var<storage, read> rate: array<f32>;    // [batch, time]
@group(0) @binding(3) var<storage, read_write> y: array<f32>; // [batches, time, columns]

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
    let before = carry[i];
    for (var t = begin; t < end; t++) {
        let at = (batch * params.time + t) * params.columns + column;
        y[at] = rate[(params.first + batch) * params.time + t] * (y[at] + before);
    }
}
