// Gradient of the gated linear unit; one invocation an element of dy.
//   dx[r, c] = dy[r, c] · σ(b),  dx[r, d + c] = dy[r, c] · a · σ(b)(1 − σ(b)),  a = x[r, c], b = x[r, d + c]
//! workgroup map
#import shared/grid
#import shared/activation

struct Params {
    elements: u32,
    half: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;        // [rows, 2 · half]; may be dx
@group(0) @binding(2) var<storage, read> dy: array<f32>;       // [rows, half]
@group(0) @binding(3) var<storage, read_write> dx: array<f32>; // [rows, 2 · half]

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
    let gate = sigmoid(vec4<f32>(x[at + params.half])).x;
    let linear = x[at];
    let dlinear = dy[i] * gate;
    dx[at] = dlinear;
    dx[at + params.half] = dlinear * linear * (1.0 - gate);
}
