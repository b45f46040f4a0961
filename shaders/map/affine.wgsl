// Scales and shifts every element; one invocation takes four neighbors.
//   y = scale·x + shift
//! workgroup map; takes 4 an invocation
#import shared/grid

struct Params {
    elements: u32,
    scale: f32,
    shift: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;       // [elements / 4]; in f16 too; may be y
@group(0) @binding(2) var<storage, read_write> y: array<vec4<f32>>; // [elements / 4]; in f16 too

override WORKGROUP_SIZE: u32 = 64u;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = linear_group(group, groups) * WORKGROUP_SIZE + lane;
    let left = i32(params.elements) - i32(i * 4u);
    if left <= 0 {
        return;
    }
    let value = params.scale * x[i] + params.shift;
    if left >= 4 {
        y[i] = value;
        return;
    }
    for (var c = 0; c < left; c++) {
        y[i][c] = value[c];
    }
}
