// Adds up the parts of the gradients of a linear layer; one invocation four neighbors of either.
//   dweight = Σ partial[.., ..size], dbias = Σ partial[.., size..]
//! workgroup map; takes 4 an invocation
#import shared/grid

struct Params {
    parts: u32,
    size: u32,  // of dweight, a multiple of 4
    width: u32, // of dbias, a multiple of 4
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> partial: array<vec4<f32>>;       // [parts, size + width]
@group(0) @binding(2) var<storage, read_write> dweight: array<vec4<f32>>; // [size]
@group(0) @binding(3) var<storage, read_write> dbias: array<vec4<f32>>;   // [width]

override WORKGROUP_SIZE: u32 = 64u;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let size = params.size / 4u;
    let both = size + params.width / 4u;
    let i = linear_group(group, groups) * WORKGROUP_SIZE + lane;
    if i >= both {
        return;
    }
    var sum = vec4<f32>();
    for (var part = 0u; part < params.parts; part++) {
        sum += partial[part * both + i];
    }
    if i < size {
        dweight[i] = sum;
    } else {
        dbias[i - size] = sum;
    }
}
