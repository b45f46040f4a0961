// The best of the parts' best codes; one invocation takes a row.
//   id[r] = ids[q, r] of the first q with the largest scores[q, r]
//! workgroup map
#import shared/grid

struct Params {
    rows: u32,
    parts: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> scores: array<f32>;   // [parts, rows]
@group(0) @binding(2) var<storage, read> ids: array<u32>;      // [parts, rows]
@group(0) @binding(3) var<storage, read_write> id: array<u32>; // [rows]

override WORKGROUP_SIZE: u32 = 64u;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = linear_group(group, groups) * WORKGROUP_SIZE + lane;
    if row >= params.rows {
        return;
    }
    var best = scores[row];
    var at = row;
    for (var part = 1u; part < params.parts; part++) {
        let i = part * params.rows + row;
        if scores[i] > best {
            best = scores[i];
            at = i;
        }
    }
    id[row] = ids[at];
}
