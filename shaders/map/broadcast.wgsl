// Combines two tensors that are broadcast against each other; one invocation an element.
//   y[i] = a[i · stride_a] ∘ b[i · stride_b], a stride of 0 repeats
//! workgroup map
#import shared/grid
#import map/combine

struct Params {
    elements: u32,
    dim_1: u32,
    dim_2: u32,
    dim_3: u32,
    a_0: u32,
    a_1: u32,
    a_2: u32,
    a_3: u32,
    b_0: u32,
    b_1: u32,
    b_2: u32,
    b_3: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<f32>;       // broadcasts to [dim_0, dim_1, dim_2, dim_3]; may be y
@group(0) @binding(2) var<storage, read> b: array<f32>;       // broadcasts to [dim_0, dim_1, dim_2, dim_3]; may be y
@group(0) @binding(3) var<storage, read_write> y: array<f32>; // [dim_0, dim_1, dim_2, dim_3]

override WORKGROUP_SIZE: u32 = 64u;
override KIND: u32 = 0u; // values 0..=3: the operation

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
    let row = i / params.dim_3;
    let i_3 = i - row * params.dim_3;
    let plane = row / params.dim_2;
    let i_2 = row - plane * params.dim_2;
    let i_0 = plane / params.dim_1;
    let i_1 = plane - i_0 * params.dim_1;
    let at_a = i_0 * params.a_0 + i_1 * params.a_1 + i_2 * params.a_2 + i_3 * params.a_3;
    let at_b = i_0 * params.b_0 + i_1 * params.b_1 + i_2 * params.b_2 + i_3 * params.b_3;
    y[i] = combine(vec4<f32>(a[at_a]), vec4<f32>(b[at_b]), KIND).x;
}
