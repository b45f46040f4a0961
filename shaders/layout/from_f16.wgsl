// Widens four neighbors from f16, two to a word.
//   y = f32(x)
//! workgroup map
#import shared/grid

struct Params {
    vec4s: u32, // elements / 4
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec2<u32>>;       // [elements / 4] of four f16 values
@group(0) @binding(2) var<storage, read_write> y: array<vec4<f32>>; // [elements / 4]

override WORKGROUP_SIZE: u32 = 64u;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = linear_group(group, groups) * WORKGROUP_SIZE + lane;
    if i >= params.vec4s {
        return;
    }
    y[i] = vec4<f32>(unpack2x16float(x[i].x), unpack2x16float(x[i].y));
}
