// First level of the gradient of a bias of the queries; one invocation sums a chunk of frames for a column of a head.
//   partial[b, chunk, h, c] = scale · Σ_{t in chunk} weight[b, h, t] · x[b, t, h, c]
//! workgroup map
#import shared/grid

struct Params {
    batches: u32,
    first_batch: u32,
    time: u32,
    heads: u32,
    head_dim: u32,
    chunk: u32,
    chunks: u32,
    // The row of `partial` where the whole batch's start.
    first_row: u32,
    // Where x starts, and from one utterance, frame and head to the next.
    x_first: u32,
    x_batch: u32,
    x_frame: u32,
    x_head: u32,
    scale: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> weight: array<f32>;        // [batch, heads, time]
@group(0) @binding(2) var<storage, read> x: array<f32>;             // broadcasts over the batch, or [batches, time, ..]
@group(0) @binding(3) var<storage, read_write> partial: array<f32>; // [rows, heads, head_dim]

override WORKGROUP_SIZE: u32 = 64u;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = linear_group(group, groups) * WORKGROUP_SIZE + lane;
    let width = params.heads * params.head_dim;
    let block = i / width;
    let utterance = block / params.chunks;
    if utterance >= params.batches {
        return;
    }
    let head = (i - block * width) / params.head_dim;
    let column = i - block * width - head * params.head_dim;
    let begin = (block - utterance * params.chunks) * params.chunk;
    let end = min(begin + params.chunk, params.time);
    let weights = ((params.first_batch + utterance) * params.heads + head) * params.time;
    let first = params.x_first + utterance * params.x_batch + head * params.x_head + column;
    var sum = 0.0;
    for (var t = begin; t < end; t++) {
        sum += weight[weights + t] * x[first + t * params.x_frame];
    }
    let row = params.first_row + params.first_batch * params.chunks + block;
    partial[row * width + i - block * width] = params.scale * sum;
}
