// Adds in place; one invocation takes four neighbors.
//   total ← total + x
//! workgroup map; takes 4 an invocation
#import shared/grid

struct Params {
    elements: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> total: array<vec4<f32>>; // [elements / 4]
@group(0) @binding(2) var<storage, read> x: array<vec4<f32>>;           // [elements / 4]

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
    let sum = total[i] + x[i];
    if left >= 4 {
        total[i] = sum;
        return;
    }
    for (var c = 0; c < left; c++) {
        total[i][c] = sum[c];
    }
}
