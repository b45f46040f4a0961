// The best code of every part of the codebook; a workgroup takes one part, an invocation a row, or four rows of 16.
//   scores[q, r] = max_{c in part q} x_r·code_c,  ids[q, r] = the first such c
//! workgroup map; takes 1 a workgroup
//! variant size_16: needs size = 16; tile 4
//! variant any: tile 1
#import shared/grid
#import shared/neg_inf

struct Params {
    rows: u32,
    size: u32,
    codes: u32,
    part: u32,
    row_groups: u32,
    parts: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
#if 16
@group(0) @binding(1) var<storage, read> x: array<mat4x4<f32>>;        // [rows, 16]
@group(0) @binding(2) var<storage, read> codebook: array<mat4x4<f32>>; // [codes, 16]
@group(0) @binding(3) var<storage, read_write> scores: array<f32>;     // [parts, rows]
@group(0) @binding(4) var<storage, read_write> ids: array<u32>;        // [parts, rows]

override WORKGROUP_SIZE: u32 = 64u;

fn dot_16(a: mat4x4<f32>, b: mat4x4<f32>) -> f32 {
    let sums = (a[0] * b[0] + a[1] * b[1]) + (a[2] * b[2] + a[3] * b[3]);
    return (sums.x + sums.y) + (sums.z + sums.w);
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let block = linear_group(group, groups);
    let part = block / params.row_groups;
    let row = (block - part * params.row_groups) * WORKGROUP_SIZE * 4u + lane;
    if part >= params.parts || row >= params.rows {
        return;
    }
    let rows = row + WORKGROUP_SIZE * vec4<u32>(0u, 1u, 2u, 3u);
    let at = min(rows, vec4<u32>(params.rows - 1u));
    let x_0 = x[at.x];
    let x_1 = x[at.y];
    let x_2 = x[at.z];
    let x_3 = x[at.w];
    let first = part * params.part;
    let last = min(first + params.part, params.codes);
    var best = vec4<f32>(NEG_INF);
    var id = vec4<u32>(first);
    for (var c = first; c < last; c++) {
        let code = codebook[c];
        let score = vec4<f32>(dot_16(x_0, code), dot_16(x_1, code), dot_16(x_2, code), dot_16(x_3, code));
        let better = score > best;
        best = select(best, score, better);
        id = select(id, vec4<u32>(c), better);
    }
    for (var i = 0u; i < 4u; i++) {
        if rows[i] < params.rows {
            scores[part * params.rows + rows[i]] = best[i];
            ids[part * params.rows + rows[i]] = id[i];
        }
    }
}
#else
@group(0) @binding(1) var<storage, read> x: array<f32>;            // [rows, size]
@group(0) @binding(2) var<storage, read> codebook: array<f32>;     // [codes, size]
@group(0) @binding(3) var<storage, read_write> scores: array<f32>; // [parts, rows]
@group(0) @binding(4) var<storage, read_write> ids: array<u32>;    // [parts, rows]

override WORKGROUP_SIZE: u32 = 64u;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let block = linear_group(group, groups);
    let part = block / params.row_groups;
    let row = (block - part * params.row_groups) * WORKGROUP_SIZE + lane;
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
#endif
