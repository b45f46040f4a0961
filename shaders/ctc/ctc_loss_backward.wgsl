// Weighs each utterance's gradient by that of its loss; one invocation takes four neighbors.
//   dlogits[b, t, v] = dloss[b] · gradient[b, t, v]
//! workgroup map; takes 4 an invocation
#import shared/grid

struct Params {
    elements: u32,
    // The first element's place in the whole tensor.
    first: u32,
    batch: u32,
    // Elements of one utterance.
    utterance: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> gradient: array<vec4<f32>>;      // [elements / 4]
@group(0) @binding(2) var<storage, read> dloss: array<f32>;               // [batch]
@group(0) @binding(3) var<storage, read_write> dlogits: array<vec4<f32>>; // [elements / 4]

override WORKGROUP_SIZE: u32 = 64u;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = linear_group(group, groups) * WORKGROUP_SIZE + lane;
    if i * 4u >= params.elements {
        return;
    }
    let left = params.elements - i * 4u;
    let place = params.first + i * 4u;
    let utterance = place / params.utterance;
    // The group ends in a later utterance where fewer than four elements are left of its own.
    let end = (utterance + 1u) * params.utterance - place;
    let c = vec4<u32>(0u, 1u, 2u, 3u);
    var b = vec4<u32>(utterance) + vec4<u32>(c >= vec4<u32>(end));
    b += vec4<u32>(c >= vec4<u32>(end + params.utterance)) + vec4<u32>(c >= vec4<u32>(end + 2u * params.utterance));
    b = min(b, vec4<u32>(params.batch - 1u));
    let value = gradient[i] * vec4<f32>(dloss[b.x], dloss[b.y], dloss[b.z], dloss[b.w]);
    if left >= 4u {
        dlogits[i] = value;
        return;
    }
    for (var c = 0u; c < left; c++) {
        dlogits[i][c] = value[c];
    }
}
