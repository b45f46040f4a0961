// Gradient of attention with respect to the table of positions, and what the bias v needs of it; the rows of the
// tiles are distances, an utterance's gradient is by itself.
//   dp_n = Σ_{|i − j| = n} dscore_ij · scale · (q_i + v),  sums_n = Σ_{|i − j| = n} dscore_ij
//! variant subgroup: needs subgroup = 8, int64, head_dim % 4; prefers cpu; workgroup 8
//! variant vec4: needs head_dim % 4; workgroup row at most 32
//! variant scalar: workgroup 8
#import shared/grid
#import attention/columns
#import attention/lanes
#import attention/blocks
#import attention/gradient

// The scores of 4 distances at 16 queries, whose keys are the queries less the distances: column j of the
// result's matrices is for query j.
fn scores_of_distances(lane: u32, distance: i32, query: u32) -> Block {
    var s = Block();
    for (var column4 = 0u; column4 < (params.head_dim + 3u) / 4u; column4++) {
        s = multiply_add(s, window(DISTANCE, distance, column4), sixteen_rows(lane, POSITION_QUERY, query, column4));
        let q = sixteen_rows(lane, QUERY, query, column4);
        s = delta_diagonals(s, q, KEY, i32(query) - distance - 3, column4);
    }
    return s;
}

// s plus the products of 16 queries' rows with those of the keys that 4 distances give them.
fn delta_diagonals(s: Block, others: Block, kind: u32, first: i32, column4: u32) -> Block {
    let k0 = window(kind, first, column4);
    let k4 = window(kind, first + 4, column4);
    let k8 = window(kind, first + 8, column4);
    let k12 = window(kind, first + 12, column4);
    let k16 = window(kind, first + 16, column4);
    return Block(
        s.a + other_diagonals(others.a, k0, k4),
        s.b + other_diagonals(others.b, k4, k8),
        s.c + other_diagonals(others.c, k8, k12),
        s.d + other_diagonals(others.d, k12, k16),
    );
}

fn masked_weight(s: vec4<f32>, lse: f32, distance: i32, query: u32) -> vec4<f32> {
    let own = distance + vec4<i32>(FOUR);
    let key = i32(query) - own;
    let within = key >= vec4<i32>() & key < vec4<i32>(i32(tile.length)) & vec4<bool>(query < params.time);
    // The distance 0 is walked once.
    return weight(s, vec4<f32>(lse), within & (own < vec4<i32>() | vec4<bool>(params.reversed == 0u)));
}

fn masked_weights(s: mat4x4<f32>, of_queries: mat2x4<f32>, distance: i32, query: u32) -> mat4x4<f32> {
    return mat4x4<f32>(
        masked_weight(s[0], of_queries[0].x, distance, query),
        masked_weight(s[1], of_queries[0].y, distance, query + 1u),
        masked_weight(s[2], of_queries[0].z, distance, query + 2u),
        masked_weight(s[3], of_queries[0].w, distance, query + 3u),
    );
}

// The first of four distances: they rise from there, below 0 where the keys are behind the queries.
fn distance_of(row: u32) -> i32 {
    return select(i32(row), -3 - i32(row), params.reversed == 1u);
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
    // The queries that have a key at one of the tile's distances; one KV block at least the first time.
    let start = select(here.row, 0u, params.reversed == 1u);
    let after = here.length - min(here.row, here.length);
    let all = select(min(params.time, here.length + here.row + TILE), after, params.reversed == 1u);
    let stop = min(start + params.end, all);
    let columns4 = (params.head_dim + 3u) / 4u;
    let outputs = (columns4 + 3u) / 4u * ROWS4;
    for (var query = start + params.begin; query < stop; query += KV_BLOCK) {
        let first_time = params.reversed == 0u && query == start;
        for (var unit = lane; unit < UNITS; unit += WORKGROUP_SIZE) {
            let distance = distance_of(here.row + unit % 8u * 4u);
            let first = query + unit / 8u * 16u;
            let s = scores_of_distances(lane, distance, first);
            let a = lse_delta_of(first);
            let b = lse_delta_of(first + 4u);
            let c = lse_delta_of(first + 8u);
            let d = lse_delta_of(first + 12u);
            let w = Block(
                masked_weights(s.a, a, distance, first),
                masked_weights(s.b, b, distance, first + 4u),
                masked_weights(s.c, c, distance, first + 8u),
                masked_weights(s.d, d, distance, first + 12u),
            );
            var dw = Block();
            for (var column4 = 0u; column4 < columns4; column4++) {
                let gradients = sixteen_rows(lane, DY, first, column4);
                dw = delta_diagonals(dw, gradients, VALUE, i32(first) - distance - 3, column4);
            }
            let dscores = Block(
                score_gradient(w.a, dw.a, a),
                score_gradient(w.b, dw.b, b),
                score_gradient(w.c, dw.c, c),
                score_gradient(w.d, dw.d, d),
            );
            keep(unit, dscores);
        }
        meet();
        for (var output = lane; output < outputs; output += WORKGROUP_SIZE) {
            let row4 = output % 8u;
            let row = vec4<u32>(abs(distance_of(here.row + 4u * row4) + vec4<i32>(FOUR)));
            let column4 = output / 8u * 4u;
            var x = vectors(times_block(lane, row4, POSITION_QUERY, query, column4));
            let fresh = first_time && params.added == 0u;
            for (var r = 0u; r < 4u; r++) {
                let at = ((here.utterance * params.time + row[r]) * params.heads + here.head) * params.head_dim;
                for (var part = 0u; part < select(0u, up_to(column4, columns4), row[r] < params.time); part++) {
                    add(at, column4 + part, x[4u * part + r], fresh);
                }
            }
            if output < ROWS4 {
                add_sums(row, row4, first_time);
            }
        }
        meet();
    }
}
