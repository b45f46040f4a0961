// The best code of every part of the codebook, for any width; a workgroup takes one part, an invocation a row.
//   scores[q, r] = max_{c in part q} x_r·code_c,  ids[q, r] = the first such c
#import shared/grid

struct Params {
    rows: u32,
    size: u32,
    codes: u32,
    part: u32,
    row_groups: u32,
    parts: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;            // [rows, size]
@group(0) @binding(2) var<storage, read> codebook: array<f32>;     // [codes, size]
@group(0) @binding(3) var<storage, read_write> scores: array<f32>; // [parts, rows]
@group(0) @binding(4) var<storage, read_write> ids: array<u32>;    // [parts, rows]

override WIDTH: u32 = 64u;

@compute @workgroup_size(WIDTH)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let block = linear_group(group, groups);
    let part = block / params.row_groups;
    let row = (block - part * params.row_groups) * WIDTH + lane;
    if part >= params.parts || row >= params.rows {
        return;
    }
    let first = part * params.part;
    let last = min(first + params.part, params.codes);
    var best = 0.0;
    var id = first;
    for (var code = first; code < last; code++) {
        var score = 0.0;
        for (var i = 0u; i < params.size; i++) {
            score += x[row * params.size + i] * codebook[code * params.size + i];
        }
        if code == first || score > best {
            best = score;
            id = code;
        }
    }
    scores[part * params.rows + row] = best;
    ids[part * params.rows + row] = id;
}
