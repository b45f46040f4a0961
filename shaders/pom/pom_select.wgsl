// Gates the aggregate; one invocation takes its columns of a chunk of frames.
//   y = σ(z) ∘ h
// PER_FRAME: h has a row for every frame, otherwise one for every utterance.
//! workgroup map
//! variant vec4: needs columns % 4; takes 4 an invocation
//! variant scalar
#import shared/grid
#import shared/activation
#import shared/activation_derivative
#import pom/columns

struct Params {
    first: u32,
    batches: u32,
    time: u32,
    columns: u32,
    chunk: u32,
    chunks: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> z: array<Columns>;       // [batches, time, columns]; may be y
@group(0) @binding(2) var<storage, read> h: array<Columns>;       // [batch, columns]; PER_FRAME: as z
@group(0) @binding(3) var<storage, read_write> y: array<Columns>; // [batches, time, columns]

override WORKGROUP_SIZE: u32 = 64u;
override PER_FRAME: bool = false;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let columns = params.columns / LANES;
    let i = linear_group(group, groups) * WORKGROUP_SIZE + lane;
    let block = i / columns;
    if block >= params.batches * params.chunks {
        return;
    }
    let column = i - block * columns;
    let batch = block / params.chunks;
    let chunk = block - batch * params.chunks;
    let begin = chunk * params.chunk;
    let end = min(begin + params.chunk, params.time);
    let base = batch * params.time * columns + column;
    if PER_FRAME {
        for (var t = begin; t < end; t++) {
            let at = base + t * columns;
            y[at] = gate(z[at]) * h[at];
        }
        return;
    }
    let state = h[(params.first + batch) * columns + column];
    for (var t = begin; t < end; t++) {
        let at = base + t * columns;
        y[at] = gate(z[at]) * state;
    }
}
