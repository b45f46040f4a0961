// Combines two tensors of one shape element by element; one invocation takes four neighbors.
//   y = a ∘ b
//! workgroup map; takes 4 an invocation
#import shared/grid
#import map/combine

struct Params {
    elements: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<vec4<f32>>;       // [elements / 4]; in f16 too; may be y
@group(0) @binding(2) var<storage, read> b: array<vec4<f32>>;       // [elements / 4]; in f16 too; may be y
@group(0) @binding(3) var<storage, read_write> y: array<vec4<f32>>; // [elements / 4]; in f16 too

override WORKGROUP_SIZE: u32 = 64u;
override KIND: u32 = 0u; // values 0..=3: the operation

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
    let value = combine(a[i], b[i], KIND);
    if left >= 4 {
        y[i] = value;
        return;
    }
    for (var c = 0; c < left; c++) {
        y[i][c] = value[c];
    }
}
