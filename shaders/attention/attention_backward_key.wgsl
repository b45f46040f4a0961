// Gradient of attention with respect to the keys or the values, and what the bias u needs of it.
//   dk_j = R_jᵀ Σ_i dscore_ij · scale · (R_i q_i + u),  sums_j = Σ_i dscore_ij
//   VALUES: dv_j = Σ_i weight_ij · dy_i
//! variant subgroup: needs subgroup = 8, int64, head_dim % 4; prefers cpu; workgroup 8
//! variant vec4: needs head_dim % 4; workgroup row at most 32
//! variant scalar: workgroup 8
#import shared/grid
#import attention/columns
#import attention/lanes
#import attention/blocks
#import attention/gradient

// Whether the values' gradient is made instead of the keys'.
override VALUES: bool = false;

// The scores of 4 keys at 16 queries.
fn scores_of_keys(lane: u32, row: u32, query: u32) -> Block {
    var s = Block();
    for (var column4 = 0u; column4 < (params.head_dim + 3u) / 4u; column4++) {
        s = multiply_add(s, four_rows(KEY, row, column4), sixteen_rows(lane, QUERY, query, column4));
        if POSITION == RELATIVE {
            let q = sixteen_rows(lane, POSITION_QUERY, query, column4);
            let first = i32(query) - i32(row) - 3;
            let n0 = window(DISTANCE, first, column4);
            let n4 = window(DISTANCE, first + 4, column4);
            let n8 = window(DISTANCE, first + 8, column4);
            let n12 = window(DISTANCE, first + 12, column4);
            let n16 = window(DISTANCE, first + 16, column4);
            s.a += other_diagonals(q.a, n0, n4);
            s.b += other_diagonals(q.b, n4, n8);
            s.c += other_diagonals(q.c, n8, n12);
            s.d += other_diagonals(q.d, n12, n16);
        }
    }
    return s;
}

fn masked_weights(s: mat4x4<f32>, of_queries: mat2x4<f32>, row: u32, query: u32) -> mat4x4<f32> {
    let valid = row + FOUR < vec4<u32>(tile.length);
    let none = vec4<bool>(false);
    return mat4x4<f32>(
        weight(s[0], vec4<f32>(of_queries[0].x), select(none, valid, query < params.time)),
        weight(s[1], vec4<f32>(of_queries[0].y), select(none, valid, query + 1u < params.time)),
        weight(s[2], vec4<f32>(of_queries[0].z), select(none, valid, query + 2u < params.time)),
        weight(s[3], vec4<f32>(of_queries[0].w), select(none, valid, query + 3u < params.time)),
    );
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = linear_group(group, groups);
    if index >= params.tiles {
        return;
    }
    let here = locate(index);
    tile = here;
    // Keys behind the utterance have one KV block without a weight.
    let stop = min(params.end, select(params.time, 1u, here.row >= here.length));
    let columns4 = (params.head_dim + 3u) / 4u;
    let outputs = (columns4 + 3u) / 4u * ROWS4;
    for (var query = params.begin; query < stop; query += KV_BLOCK) {
        for (var unit = lane; unit < UNITS; unit += WORKGROUP_SIZE) {
            let row = here.row + unit % 8u * 4u;
            let first = query + unit / 8u * 16u;
            let s = scores_of_keys(lane, row, first);
            let a = lse_delta_of(first);
            let b = lse_delta_of(first + 4u);
            let c = lse_delta_of(first + 8u);
            let d = lse_delta_of(first + 12u);
            var w = Block(
                masked_weights(s.a, a, row, first),
                masked_weights(s.b, b, row, first + 4u),
                masked_weights(s.c, c, row, first + 8u),
                masked_weights(s.d, d, row, first + 12u),
            );
            if !VALUES {
                var dw = Block();
                for (var column4 = 0u; column4 < columns4; column4++) {
                    dw = multiply_add(dw, four_rows(VALUE, row, column4), sixteen_rows(lane, DY, first, column4));
                }
                w = Block(
                    score_gradient(w.a, dw.a, a),
                    score_gradient(w.b, dw.b, b),
                    score_gradient(w.c, dw.c, c),
                    score_gradient(w.d, dw.d, d),
                );
            }
            keep(unit, w);
        }
        meet();
        for (var output = lane; output < outputs; output += WORKGROUP_SIZE) {
            let row4 = output % 8u;
            let row = here.row + 4u * row4;
            let column4 = output / 8u * 4u;
            var x = vectors(times_block(lane, row4, select(QUERY, DY, VALUES), query, column4));
            for (var r = 0u; r < up_to(row, params.time); r++) {
                for (var part = 0u; part < up_to(column4, columns4); part++) {
                    var gradient = x[4u * part + r];
                    if !VALUES {
                        gradient = rotated(gradient, row + r, column4 + part, true);
                    }
                    add(part_of(row + r, select(1u, 2u, VALUES)), column4 + part, gradient, query == 0u);
                }
            }
            if POSITION == RELATIVE && !VALUES && output < ROWS4 {
                add_sums(row + FOUR, row4, query == 0u);
            }
        }
        meet();
    }
}
