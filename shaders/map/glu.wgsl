// Gated linear unit: the first half of each row, gated by the second; one invocation an element.
//   y[r, c] = x[r, c] · σ(x[r, d + c])
//! workgroup map
#import shared/grid
#import shared/activation

struct Params {
    elements: u32,
    half: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;       // [rows, 2 · half]
@group(0) @binding(2) var<storage, read_write> y: array<f32>; // [rows, half]

override WORKGROUP_SIZE: u32 = 64u;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = linear_group(group, groups) * WORKGROUP_SIZE + lane;
    if i >= params.elements {
        return;
    }
    let at = i + i / params.half * params.half;
    y[i] = x[at] * sigmoid(vec4<f32>(x[at + params.half])).x;
}
