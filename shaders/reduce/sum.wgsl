// Sums the middle axis in chunks; one invocation sums one column of one chunk, or four neighbors.
//   y[o, c, i] = Σ_{r in chunk c} x[o, r, i]
//! workgroup map
//! variant vec4: needs inner % 4; takes 4 an invocation
//! variant scalar
#import shared/grid
#import shared/element

struct Params {
    outer: u32,
    reduce: u32,
    inner: u32,
    chunk: u32,
    chunks: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<Element>;       // [outer, reduce, inner]; in f16 too
@group(0) @binding(2) var<storage, read_write> y: array<Element>; // [outer, chunks, inner]

override WORKGROUP_SIZE: u32 = 64u;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let inner = params.inner / LANES;
    let i = linear_group(group, groups) * WORKGROUP_SIZE + lane;
    if i >= params.outer * params.chunks * inner {
        return;
    }
    let block = i / inner;
    let column = i - block * inner;
    let outer = block / params.chunks;
    let first = (block - outer * params.chunks) * params.chunk;
    let last = min(first + params.chunk, params.reduce);
    var sum = Element();
    for (var r = first; r < last; r++) {
        sum += x[(outer * params.reduce + r) * inner + column];
    }
    y[i] = sum;
}
