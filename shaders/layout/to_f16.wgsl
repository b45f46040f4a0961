// Rounds four neighbors to f16, two to a word; larger values become the largest f16.
//   y = f16(x)
//! workgroup map
#import shared/grid

struct Params {
    vec4s: u32, // elements / 4
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;       // [elements / 4]; in f16 too
@group(0) @binding(2) var<storage, read_write> y: array<vec2<u32>>; // [elements / 4] of four f16 values

override WORKGROUP_SIZE: u32 = 64u;

const LARGEST: vec4<f32> = vec4<f32>(65504.0);

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
    let value = clamp(x[i], -LARGEST, LARGEST);
    y[i] = vec2<u32>(pack2x16float(value.xy), pack2x16float(value.zw));
}
