// Chains the places of a target that hold one class; one invocation a place.
//   labels[b, l] = (targets[b, l] where l is its first place, else NOT_FIRST; its next place, or max_target_length)
//! workgroup map
#import shared/grid

struct Params {
    batch: u32,
    max_target_length: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> targets: array<u32>;            // [batch, max_target_length]
@group(0) @binding(2) var<storage, read> target_lengths: array<u32>;     // [batch]
@group(0) @binding(3) var<storage, read_write> labels: array<vec2<u32>>; // [batch, max_target_length]

override WORKGROUP_SIZE: u32 = 64u;

const NOT_FIRST: u32 = 0xffffffffu;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = linear_group(group, groups) * WORKGROUP_SIZE + lane;
    if i >= params.batch * params.max_target_length {
        return;
    }
    let b = i / params.max_target_length;
    let row = b * params.max_target_length;
    let place = i - row;
    let length = min(target_lengths[b], params.max_target_length);
    let class_id = targets[i];
    var first = class_id;
    for (var l = 0u; l < place; l++) {
        if targets[row + l] == class_id {
            first = NOT_FIRST;
            break;
        }
    }
    var next = params.max_target_length;
    for (var l = place + 1u; l < length; l++) {
        if targets[row + l] == class_id {
            next = l;
            break;
        }
    }
    labels[i] = vec2<u32>(first, next);
}
