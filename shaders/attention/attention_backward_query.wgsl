// Gradient of attention with respect to the queries.
//   dq_i = scale · R_iᵀ Σ_j dscore_ij · (R_j k_j + p_{|i − j|})
//! variant subgroup: needs subgroup = 8, int64, head_dim % 4; prefers cpu; workgroup 8
//! variant vec4: needs head_dim % 4; workgroup row at most 32
//! variant scalar: workgroup 8
#import shared/grid
#import attention/columns
#import attention/lanes
#import attention/blocks
#import attention/gradient

fn masked_weights(s: mat4x4<f32>, lse: vec4<f32>, key: u32) -> mat4x4<f32> {
    return mat4x4<f32>(
        weight(s[0], lse, vec4<bool>(key < tile.length)),
        weight(s[1], lse, vec4<bool>(key + 1u < tile.length)),
        weight(s[2], lse, vec4<bool>(key + 2u < tile.length)),
        weight(s[3], lse, vec4<bool>(key + 3u < tile.length)),
    );
}

// dscore of four queries at four keys.
fn own_score_gradient(w: mat4x4<f32>, dweight: mat4x4<f32>, delta: vec4<f32>) -> mat4x4<f32> {
    return mat4x4<f32>(
        w[0] * (dweight[0] - delta),
        w[1] * (dweight[1] - delta),
        w[2] * (dweight[2] - delta),
        w[3] * (dweight[3] - delta),
    );
}

// Σ_j weight_rj · p_{|row + r − j|} over four keys, four columns.
fn times_positions(w: mat4x4<f32>, first: i32, column4: u32) -> mat4x4<f32> {
    let met = diagonals(window(DISTANCE, first, column4), window(DISTANCE, first + 4, column4));
    return mat4x4<f32>(
        (w[0].x * met.a[0] + w[1].x * met.b[0]) + (w[2].x * met.c[0] + w[3].x * met.d[0]),
        (w[0].y * met.a[1] + w[1].y * met.b[1]) + (w[2].y * met.c[1] + w[3].y * met.d[1]),
        (w[0].z * met.a[2] + w[1].z * met.b[2]) + (w[2].z * met.c[2] + w[3].z * met.d[2]),
        (w[0].w * met.a[3] + w[1].w * met.b[3]) + (w[2].w * met.c[3] + w[3].w * met.d[3]),
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
    // An utterance without a frame has one KV block without a weight.
    let stop = min(params.end, max(here.length, 1u));
    let columns4 = (params.head_dim + 3u) / 4u;
    let outputs = (columns4 + 3u) / 4u * ROWS4;
    for (var key = params.begin; key < stop; key += KV_BLOCK) {
        for (var unit = lane; unit < UNITS; unit += WORKGROUP_SIZE) {
            let row = here.row + unit % 8u * 4u;
            let first = key + unit / 8u * 16u;
            let of_rows = lse_delta_of(row);
            let s = scores_of_queries(lane, row, first);
            let w = Block(
                masked_weights(s.a, of_rows[0], first),
                masked_weights(s.b, of_rows[0], first + 4u),
                masked_weights(s.c, of_rows[0], first + 8u),
                masked_weights(s.d, of_rows[0], first + 12u),
            );
            var dw = Block();
            for (var column4 = 0u; column4 < columns4; column4++) {
                dw = multiply_add(dw, four_rows(DY, row, column4), sixteen_rows(lane, VALUE, first, column4));
            }
            keep(unit, Block(
                own_score_gradient(w.a, dw.a, of_rows[1]),
                own_score_gradient(w.b, dw.b, of_rows[1]),
                own_score_gradient(w.c, dw.c, of_rows[1]),
                own_score_gradient(w.d, dw.d, of_rows[1]),
            ));
        }
        meet();
        for (var output = lane; output < outputs; output += WORKGROUP_SIZE) {
            let row4 = output % 8u;
            let row = here.row + 4u * row4;
            let column4 = output / 8u * 4u;
            var x = times_block(lane, row4, KEY, key, column4);
            if POSITION == RELATIVE {
                for (var k = 0u; k < KV_BLOCK / 4u; k++) {
                    let w = weights[8u * k + row4];
                    let first = i32(key + 4u * k) - i32(row) - 3;
                    x.a += times_positions(w, first, column4);
                    x.b += times_positions(w, first, column4 + 1u);
                    x.c += times_positions(w, first, column4 + 2u);
                    x.d += times_positions(w, first, column4 + 3u);
                }
            }
            var dq = vectors(x);
            for (var r = 0u; r < up_to(row, params.time); r++) {
                for (var part = 0u; part < up_to(column4, columns4); part++) {
                    let gradient = params.scale * rotated(dq[4u * part + r], row + r, column4 + part, true);
                    add(part_of(row + r, 0u), column4 + part, gradient, key == 0u);
                }
            }
        }
        meet();
    }
}
