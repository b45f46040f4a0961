// As many multiply-adds as the device makes, for benchmarks: twelve independent chains in registers, which fit into
// the 16 of a CPU.
//   c_i ← c_i · x + x, 8 · `passes` times; y = Σ c_i
// Grid: ⌈elements / WORKGROUP_SIZE⌉ workgroups, folded over x and y.
//! workgroup map
#import shared/grid

struct Params {
    elements: u32,
    passes: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;       // [elements]
@group(0) @binding(2) var<storage, read_write> y: array<f32>; // [elements]

override WORKGROUP_SIZE: u32 = 64u;

struct Chains {
    a: vec4<f32>,
    b: vec4<f32>,
    c: vec4<f32>,
}

fn next(chains: Chains, factor: f32) -> Chains {
    return Chains(chains.a * factor + factor, chains.b * factor + factor, chains.c * factor + factor);
}

fn twice(chains: Chains, factor: f32) -> Chains {
    return next(next(chains, factor), factor);
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let element = linear_group(group, groups) * WORKGROUP_SIZE + lane;
    if element >= params.elements {
        return;
    }
    let factor = x[element];
    let start = factor + vec4<f32>(0.0, 1.0, 2.0, 3.0);
    var chains = Chains(start, start + 4.0, start + 8.0);
    for (var i = 0u; i < params.passes; i++) {
        chains = twice(twice(twice(twice(chains, factor), factor), factor), factor);
    }
    let sum = chains.a + chains.b + chains.c;
    y[element] = (sum.x + sum.y) + (sum.z + sum.w);
}
