// Gradient of the gated linear unit; one invocation an element of dy, or four neighbors, which dx
// in f16 needs.
//   dx[r, c] = dy[r, c] · σ(b),  dx[r, d + c] = dy[r, c] · a · σ(b)(1 − σ(b)),  a = x[r, c], b = x[r, d + c]
//! workgroup map
//! variant :
//! variant vec4: needs half % 4; takes 4 an invocation
#import shared/grid
#import shared/element
#import shared/activation

struct Params {
    elements: u32,
    half: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<Element>;        // [rows, 2 · half]; in f16 too; may be dx
@group(0) @binding(2) var<storage, read> dy: array<Element>;       // [rows, half]; in f16 too
@group(0) @binding(3) var<storage, read_write> dx: array<Element>; // [rows, 2 · half]; in f16 too

override WORKGROUP_SIZE: u32 = 64u;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = linear_group(group, groups) * WORKGROUP_SIZE + lane;
    if i >= params.elements / LANES {
        return;
    }
    let half = params.half / LANES;
    let at = i + i / half * half;
#if vec4
    let gate = sigmoid(x[at + half]);
#else
    let gate = sigmoid(vec4<f32>(x[at + half])).x;
#endif
    let linear = x[at];
    let dlinear = dy[i] * gate;
    dx[at] = dlinear;
    dx[at + half] = dlinear * linear * (1.0 - gate);
}
