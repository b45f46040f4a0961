// Gradient of an activation; one invocation takes four neighbors.
//   dx = f'(x) ∘ dy
//! workgroup map; takes 4 an invocation
#import shared/grid
#import shared/activation
#import shared/activation_derivative

struct Params {
    elements: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;        // [elements / 4]; in f16 too
@group(0) @binding(2) var<storage, read> dy: array<vec4<f32>>;       // [elements / 4]; in f16 too; may be dx
@group(0) @binding(3) var<storage, read_write> dx: array<vec4<f32>>; // [elements / 4]; in f16 too

override WORKGROUP_SIZE: u32 = 64u;
override KIND: u32 = 0u; // values 0..=7: the activation

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
    let value = activation_derivative(x[i], KIND) * dy[i];
    if left >= 4 {
        dx[i] = value;
        return;
    }
    for (var c = 0; c < left; c++) {
        dx[i][c] = value[c];
    }
}
