// Attention, a workgroup a tile, whose scores pass through workgroup memory.
var<workgroup> tops: array<vec4<f32>, UNITS>; // largest scores of a unit
var<workgroup> sums: array<vec4<f32>, UNITS>; // sums of its weights
// Largest scores and sums of weights before the KV block and with it, which change places after it.
var<workgroup> highest: array<vec4<f32>, 16>; // [2, ROWS4]
var<workgroup> total: array<vec4<f32>, 16>;   // [2, ROWS4]

fn dy_vec4(frame: u32, column4: u32) -> vec4<f32> {
    return vec4<f32>();
}

fn largest(s: mat4x4<f32>) -> vec4<f32> {
    return max(max(s[0], s[1]), max(s[2], s[3]));
}

fn masked(s: mat4x4<f32>, key: u32) -> mat4x4<f32> {
    let none = vec4<f32>(NEG_INF);
    return mat4x4<f32>(
        select(none, s[0], key < tile.length),
        select(none, s[1], key + 1u < tile.length),
        select(none, s[2], key + 2u < tile.length),
        select(none, s[3], key + 3u < tile.length),
    );
}

fn weight(score: vec4<f32>, high: vec4<f32>) -> vec4<f32> {
    return select(exp(score - high), vec4<f32>(), score == vec4<f32>(NEG_INF));
}

fn weigh(s: mat4x4<f32>, high: vec4<f32>) -> mat4x4<f32> {
    return mat4x4<f32>(weight(s[0], high), weight(s[1], high), weight(s[2], high), weight(s[3], high));
}

// The largest scores of four four, this KV block's included.
fn raised(before: vec4<f32>, row4: u32) -> vec4<f32> {
    return max(before, largest(mat4x4<f32>(tops[row4], tops[row4 + 8u], tops[row4 + 16u], tops[row4 + 24u])));
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
    let first_lse = row_of_head();
    for (var row4 = lane; row4 < ROWS4; row4 += WORKGROUP_SIZE) {
        // What was walked before counts as one key: its score is the logarithm of the sum, its value is y.
        var high = vec4<f32>(NEG_INF);
        if params.begin > 0u {
            let i = first_lse + min(here.row + 4u * row4 + FOUR, vec4<u32>(params.time - 1u));
            high = vec4<f32>(lse[i.x], lse[i.y], lse[i.z], lse[i.w]);
        }
        highest[row4] = high;
        total[row4] = vec4<f32>(f32(params.begin > 0u));
    }
    meet();

    // An utterance without a frame has one KV block without a weight.
    let stop = min(params.end, max(here.length, 1u));
    let columns4 = (params.head_dim + 3u) / 4u;
    let outputs = (columns4 + 3u) / 4u * ROWS4;
    var now = 0u;
    for (var key = params.begin; key < stop; key += KV_BLOCK) {
        for (var unit = lane; unit < UNITS; unit += WORKGROUP_SIZE) {
            let first = key + unit / 8u * 16u;
            var s = scores_of_queries(lane, here.row + unit % 8u * 4u, first);
            s = Block(masked(s.a, first), masked(s.b, first + 4u), masked(s.c, first + 8u), masked(s.d, first + 12u));
            keep(unit, s);
            tops[unit] = max(max(largest(s.a), largest(s.b)), max(largest(s.c), largest(s.d)));
        }
        meet();
        for (var unit = lane; unit < UNITS; unit += WORKGROUP_SIZE) {
            let high = raised(highest[now + unit % 8u], unit % 8u);
            let s = kept(unit);
            let w = Block(weigh(s.a, high), weigh(s.b, high), weigh(s.c, high), weigh(s.d, high));
            keep(unit, w);
            sums[unit] = column_sums(w);
        }
        meet();
        for (var output = lane; output < outputs; output += WORKGROUP_SIZE) {
            let row4 = output % 8u;
            let row = here.row + 4u * row4;
            let high = raised(highest[now + row4], row4);
            let factor = exp(highest[now + row4] - high);
            let whole = factor * total[now + row4]
                + ((sums[row4] + sums[row4 + 8u]) + (sums[row4 + 16u] + sums[row4 + 24u]));
            let none = whole == vec4<f32>();
            let last = key + KV_BLOCK >= stop;
            if output < ROWS4 {
                highest[8u - now + row4] = high;
                total[8u - now + row4] = whole;
                if last {
                    let of_row = select(high + log(whole), vec4<f32>(), none);
                    for (var r = 0u; r < up_to(row, params.time); r++) {
                        lse[first_lse + row + r] = of_row[r];
                    }
                }
            }
            // y ← scale · (factor · y + x), without y at first.
            let column4 = output / 8u * 4u;
            let scale = select(vec4<f32>(1.0), select(1.0 / whole, vec4<f32>(), none), vec4<bool>(last));
            var x = vectors(times_block(lane, row4, VALUE, key, column4));
            for (var r = 0u; r < up_to(row, params.time); r++) {
                let at = ((here.utterance * params.time + row + r) * params.heads + here.head) * params.head_dim;
                for (var part = 0u; part < up_to(column4, columns4); part++) {
                    var y = x[4u * part + r];
                    if key > 0u {
                        y += factor[r] * result_vec4(at, column4 + part);
                    }
                    put(at, column4 + part, scale[r] * y);
                }
            }
        }
        meet();
        now = 8u - now;
    }
}
