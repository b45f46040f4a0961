// What the kernels of the attention's gradient share: the weights anew, from the log-sum-exp of their scores.
//   weight_ij = exp(score_ij − l_i),  dscore_ij = weight_ij · (dy_i·v_j − dy_i·y_i)
@group(0) @binding(5) var<storage, read> lse_delta: array<vec2<f32>>; // [batch, heads, time]: l_i, dy_i·y_i
@group(0) @binding(6) var<storage, read> dy: array<Element>;           // [batches, time, heads, head_dim]
@group(0) @binding(7) var<storage, read_write> result: array<Element>; // [batches, time, 3 · heads · head_dim], of p [batches, time, heads, head_dim]
@group(0) @binding(8) var<storage, read_write> sums: array<f32>;       // [batch, heads, time]

fn dy_vec4(frame: u32, column4: u32) -> vec4<f32> {
    let i = places(((tile.utterance * params.time + frame) * params.heads + tile.head) * params.head_dim, column4);
    return join(dy[i.x], dy[i.y], dy[i.z], dy[i.w], column4);
}

// l and dy·y of four queries.
fn lse_delta_of(query: u32) -> mat2x4<f32> {
    let i = row_of_head() + min(query + FOUR, vec4<u32>(params.time - 1u));
    return transpose(mat4x2<f32>(lse_delta[i.x], lse_delta[i.y], lse_delta[i.z], lse_delta[i.w]));
}

fn weight(score: vec4<f32>, lse: vec4<f32>, valid: vec4<bool>) -> vec4<f32> {
    return select(vec4<f32>(), exp(score - lse), valid);
}

// dscore of four rows at four others that are the queries.
fn score_gradient(w: mat4x4<f32>, dweight: mat4x4<f32>, of_queries: mat2x4<f32>) -> mat4x4<f32> {
    let delta = of_queries[1];
    return mat4x4<f32>(
        w[0] * (dweight[0] - delta.x),
        w[1] * (dweight[1] - delta.y),
        w[2] * (dweight[2] - delta.z),
        w[3] * (dweight[3] - delta.w),
    );
}

// Adds to four columns of the result, which at first are not there.
fn add(at: u32, column4: u32, x: vec4<f32>, fresh: bool) {
    var sum = x;
    if !fresh {
        sum += result_vec4(at, column4);
    }
    put(at, column4, sum);
}

// Adds four rows' sums over the KV block.
fn add_sums(row: vec4<u32>, row4: u32, fresh: bool) {
    var sum = vec4<f32>();
    for (var k = 0u; k < KV_BLOCK / 4u; k++) {
        sum += column_sum(weights[8u * k + row4]);
    }
    for (var r = 0u; r < 4u; r++) {
        if row[r] < params.time {
            let at = row_of_head() + row[r];
            sums[at] = sum[r] + select(sums[at], 0.0, fresh);
        }
    }
}
