// Copies up to four tensors; one invocation four neighbors of one.
//   y_i = x_i
//! workgroup map
#import shared/grid

// Where each of them ends if they lie one behind the other, in vec4s.
struct Params {
    end_0: u32,
    end_1: u32,
    end_2: u32,
    end_3: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x_0: array<vec4<f32>>;       // [elements / 4]
@group(0) @binding(2) var<storage, read> x_1: array<vec4<f32>>;       // [elements / 4]
@group(0) @binding(3) var<storage, read> x_2: array<vec4<f32>>;       // [elements / 4]
@group(0) @binding(4) var<storage, read> x_3: array<vec4<f32>>;       // [elements / 4]
@group(0) @binding(5) var<storage, read_write> y_0: array<vec4<f32>>; // [elements / 4]; in f16 too
@group(0) @binding(6) var<storage, read_write> y_1: array<vec4<f32>>; // [elements / 4]; in f16 too
@group(0) @binding(7) var<storage, read_write> y_2: array<vec4<f32>>; // [elements / 4]; in f16 too
@group(0) @binding(8) var<storage, read_write> y_3: array<vec4<f32>>; // [elements / 4]; in f16 too

override WORKGROUP_SIZE: u32 = 64u;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = linear_group(group, groups) * WORKGROUP_SIZE + lane;
    if i < params.end_0 {
        y_0[i] = x_0[i];
    } else if i < params.end_1 {
        let own = i - params.end_0;
        y_1[own] = x_1[own];
    } else if i < params.end_2 {
        let own = i - params.end_1;
        y_2[own] = x_2[own];
    } else if i < params.end_3 {
        let own = i - params.end_2;
        y_3[own] = x_3[own];
    }
}
