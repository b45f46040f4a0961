// Attention for subgroups of exactly 8; one subgroup owns a tile: each lane has four rows, and their weights at 64 keys in
// registers. It loads an eighth of the keys and of the values and broadcasts that to the others.
const STRIP: u32 = 32u; // 4 · WORKGROUP_SIZE
// Below all scores, and so far above NEG_INF, the score of keys behind the utterance, that their weights are 0.
const FLOOR: f32 = -1e38;

// A lane's rows at 32 keys, or at 32 columns of the result: a matrix's columns are for these, its parts for the rows.
struct Strip {
    a: mat4x4<f32>,
    b: mat4x4<f32>,
    c: mat4x4<f32>,
    d: mat4x4<f32>,
    e: mat4x4<f32>,
    f: mat4x4<f32>,
    g: mat4x4<f32>,
    h: mat4x4<f32>,
}

fn dy_vec4(frame: u32, column4: u32) -> vec4<f32> {
    return vec4<f32>();
}

// s + x·yᵢ, the i-th matrix of the strip with the y of lane i.
fn add_products(s: Strip, x: mat4x4<f32>, y: mat4x4<f32>) -> Strip {
    return Strip(
        s.a + x * mat4x4<f32>(
            subgroupBroadcast(y[0], 0u), subgroupBroadcast(y[1], 0u),
            subgroupBroadcast(y[2], 0u), subgroupBroadcast(y[3], 0u),
        ),
        s.b + x * mat4x4<f32>(
            subgroupBroadcast(y[0], 1u), subgroupBroadcast(y[1], 1u),
            subgroupBroadcast(y[2], 1u), subgroupBroadcast(y[3], 1u),
        ),
        s.c + x * mat4x4<f32>(
            subgroupBroadcast(y[0], 2u), subgroupBroadcast(y[1], 2u),
            subgroupBroadcast(y[2], 2u), subgroupBroadcast(y[3], 2u),
        ),
        s.d + x * mat4x4<f32>(
            subgroupBroadcast(y[0], 3u), subgroupBroadcast(y[1], 3u),
            subgroupBroadcast(y[2], 3u), subgroupBroadcast(y[3], 3u),
        ),
        s.e + x * mat4x4<f32>(
            subgroupBroadcast(y[0], 4u), subgroupBroadcast(y[1], 4u),
            subgroupBroadcast(y[2], 4u), subgroupBroadcast(y[3], 4u),
        ),
        s.f + x * mat4x4<f32>(
            subgroupBroadcast(y[0], 5u), subgroupBroadcast(y[1], 5u),
            subgroupBroadcast(y[2], 5u), subgroupBroadcast(y[3], 5u),
        ),
        s.g + x * mat4x4<f32>(
            subgroupBroadcast(y[0], 6u), subgroupBroadcast(y[1], 6u),
            subgroupBroadcast(y[2], 6u), subgroupBroadcast(y[3], 6u),
        ),
        s.h + x * mat4x4<f32>(
            subgroupBroadcast(y[0], 7u), subgroupBroadcast(y[1], 7u),
            subgroupBroadcast(y[2], 7u), subgroupBroadcast(y[3], 7u),
        ),
    );
}

fn sums(s: Strip) -> vec4<f32> {
    return ((column_sum(s.a) + column_sum(s.b)) + (column_sum(s.c) + column_sum(s.d)))
        + ((column_sum(s.e) + column_sum(s.f)) + (column_sum(s.g) + column_sum(s.h)));
}

fn largest_of_four(s: mat4x4<f32>) -> vec4<f32> {
    return max(max(s[0], s[1]), max(s[2], s[3]));
}

fn largest(s: Strip) -> vec4<f32> {
    return max(
        max(max(largest_of_four(s.a), largest_of_four(s.b)), max(largest_of_four(s.c), largest_of_four(s.d))),
        max(max(largest_of_four(s.e), largest_of_four(s.f)), max(largest_of_four(s.g), largest_of_four(s.h))),
    );
}

fn masked_four(s: mat4x4<f32>, key: u32) -> mat4x4<f32> {
    let none = vec4<f32>(NEG_INF);
    return mat4x4<f32>(
        select(none, s[0], key < tile.length),
        select(none, s[1], key + 1u < tile.length),
        select(none, s[2], key + 2u < tile.length),
        select(none, s[3], key + 3u < tile.length),
    );
}

fn masked(s: Strip, key: u32) -> Strip {
    return Strip(
        masked_four(s.a, key), masked_four(s.b, key + 4u), masked_four(s.c, key + 8u), masked_four(s.d, key + 12u),
        masked_four(s.e, key + 16u), masked_four(s.f, key + 20u), masked_four(s.g, key + 24u), masked_four(s.h, key + 28u),
    );
}

fn weights_of_four(s: mat4x4<f32>, high: vec4<f32>) -> mat4x4<f32> {
    return mat4x4<f32>(exp(s[0] - high), exp(s[1] - high), exp(s[2] - high), exp(s[3] - high));
}

fn weights_of(s: Strip, high: vec4<f32>) -> Strip {
    return Strip(
        weights_of_four(s.a, high), weights_of_four(s.b, high), weights_of_four(s.c, high), weights_of_four(s.d, high),
        weights_of_four(s.e, high), weights_of_four(s.f, high), weights_of_four(s.g, high), weights_of_four(s.h, high),
    );
}

// s and what four queries' distances from 32 keys add to their scores.
fn add_distances(s: Strip, q: mat4x4<f32>, first: i32, column4: u32) -> Strip {
    let n0 = window(DISTANCE, first, column4);
    let n4 = window(DISTANCE, first + 4, column4);
    let n8 = window(DISTANCE, first + 8, column4);
    let n12 = window(DISTANCE, first + 12, column4);
    let n16 = window(DISTANCE, first + 16, column4);
    let n20 = window(DISTANCE, first + 20, column4);
    let n24 = window(DISTANCE, first + 24, column4);
    let n28 = window(DISTANCE, first + 28, column4);
    let n32 = window(DISTANCE, first + 32, column4);
    return Strip(
        s.a + own_diagonals(q, n0, n4), s.b + own_diagonals(q, n4, n8),
        s.c + own_diagonals(q, n8, n12), s.d + own_diagonals(q, n12, n16),
        s.e + own_diagonals(q, n16, n20), s.f + own_diagonals(q, n20, n24),
        s.g + own_diagonals(q, n24, n28), s.h + own_diagonals(q, n28, n32),
    );
}

// Four keys' values, four columns: a column for each of these.
fn values_at(key: u32, column4: u32) -> mat4x4<f32> {
    let frames = min(key + FOUR, vec4<u32>(max(tile.length, 1u) - 1u));
    let at = part_of(0u, 2u) / 4u + min(column4, params.head_dim / 4u - 1u) + frames * (3u * params.heads * params.head_dim / 4u);
    return transpose(mat4x4<f32>(loaded(at.x), loaded(at.y), loaded(at.z), loaded(at.w)));
}

fn loaded(i: u32) -> vec4<f32> {
    return join(qkv[i], qkv[i], qkv[i], qkv[i], 0u);
}

// y and the values of 32 keys by their weights, 32 columns of them.
fn add_values(y: Strip, w: Strip, key: u32, column4: u32) -> Strip {
    var sum = add_products(y, w.a, values_at(key, column4));
    sum = add_products(sum, w.b, values_at(key + 4u, column4));
    sum = add_products(sum, w.c, values_at(key + 8u, column4));
    sum = add_products(sum, w.d, values_at(key + 12u, column4));
    sum = add_products(sum, w.e, values_at(key + 16u, column4));
    sum = add_products(sum, w.f, values_at(key + 20u, column4));
    sum = add_products(sum, w.g, values_at(key + 24u, column4));
    return add_products(sum, w.h, values_at(key + 28u, column4));
}

// y ← scale · (factor · y + x) for four rows and columns, without y at first; x's columns are the result's.
fn update(row: u32, column4: u32, x: mat4x4<f32>, factor: vec4<f32>, scale: vec4<f32>, fresh: bool) {
    let rows = transpose(x);
    update_row(row, column4, rows[0], factor.x, scale.x, fresh);
    update_row(row + 1u, column4, rows[1], factor.y, scale.y, fresh);
    update_row(row + 2u, column4, rows[2], factor.z, scale.z, fresh);
    update_row(row + 3u, column4, rows[3], factor.w, scale.w, fresh);
}

fn update_row(row: u32, column4: u32, x: vec4<f32>, factor: f32, scale: f32, fresh: bool) {
    if row < params.time {
        let at = ((tile.utterance * params.time + row) * params.heads + tile.head) * params.head_dim;
        var y = x;
        if !fresh {
            y += factor * result_vec4(at, column4);
        }
        put(at, column4, scale * y);
    }
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
    tile = locate(index);
    let row = tile.row + 4u * lane;
    let i = row_of_head() + min(row + FOUR, vec4<u32>(params.time - 1u));
    var high = vec4<f32>(FLOOR);
    if params.begin > 0u {
        // What was walked before counts as one key: its score is the logarithm of the sum, its value is y.
        high = vec4<f32>(lse[i.x], lse[i.y], lse[i.z], lse[i.w]);
    }
    var total = vec4<f32>(f32(params.begin > 0u));
    // An utterance without a frame has one walk without a weight.
    let stop = min(params.end, max(tile.length, 1u));
    for (var key = params.begin; key < stop; key += KV_BLOCK) {
        var s = Strip();
        var t = Strip();
        for (var column4 = 0u; column4 < params.head_dim / 4u; column4++) {
            let q = transpose(four_rows(QUERY, row, column4));
            s = add_products(s, q, four_rows(KEY, key + 4u * lane, column4));
            t = add_products(t, q, four_rows(KEY, key + STRIP + 4u * lane, column4));
            if POSITION == RELATIVE {
                let from_positions = four_rows(POSITION_QUERY, row, column4);
                let first = i32(key) - i32(row) - 3;
                s = add_distances(s, from_positions, first, column4);
                t = add_distances(t, from_positions, first + i32(STRIP), column4);
            }
        }
        s = masked(s, key);
        t = masked(t, key + STRIP);
        let before = high;
        high = max(before, max(largest(s), largest(t)));
        let factor = exp(before - high);
        s = weights_of(s, high);
        t = weights_of(t, high);
        total = factor * total + (sums(s) + sums(t));
        let last = vec4<bool>(key + KV_BLOCK >= stop);
        let scale = select(vec4<f32>(1.0), select(1.0 / total, vec4<f32>(), total == vec4<f32>()), last);
        for (var column4 = 0u; column4 < params.head_dim / 4u; column4 += WORKGROUP_SIZE) {
            let x = add_values(add_values(Strip(), s, key, column4 + lane), t, key + STRIP, column4 + lane);
            let fresh = key == 0u;
            update(row, column4, x.a, factor, scale, fresh);
            update(row, column4 + 1u, x.b, factor, scale, fresh);
            update(row, column4 + 2u, x.c, factor, scale, fresh);
            update(row, column4 + 3u, x.d, factor, scale, fresh);
            update(row, column4 + 4u, x.e, factor, scale, fresh);
            update(row, column4 + 5u, x.f, factor, scale, fresh);
            update(row, column4 + 6u, x.g, factor, scale, fresh);
            update(row, column4 + 7u, x.h, factor, scale, fresh);
        }
    }
    let of_row = select(high + log(total), vec4<f32>(), total == vec4<f32>());
    if row < params.time { lse[i.x] = of_row.x; }
    if row + 1u < params.time { lse[i.y] = of_row.y; }
    if row + 2u < params.time { lse[i.z] = of_row.z; }
    if row + 3u < params.time { lse[i.w] = of_row.w; }
}
