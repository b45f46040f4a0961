// The gradient of each loss with respect to the logits; one workgroup a frame.
//   gradient[n, v] = softmax(logits[n])[v] − Σ_{states s of class v} exp(alpha[n, s]) / Σ_s exp(alpha[n, s])
// Zero at frames beyond the utterance and where the target is impossible.
//! workgroup row
#import shared/grid
#import ctc/pairs

struct Params {
    rows: u32,
    // The first row, counted from the tile's first utterance.
    first_row: u32,
    // Where that row starts in `logits` and `gradient`.
    start: u32,
    first_utterance: u32,
    time: u32,
    vocab: u32,
    max_target_length: u32,
    blank: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> logits: array<f32>;         // [rows, vocab], from `start`
@group(0) @binding(2) var<storage, read> lse: array<vec2<f32>>;      // [utterances, time]
@group(0) @binding(3) var<storage, read> alpha: array<vec2<f32>>;    // [utterances, time, 2 · max_target_length + 1]
@group(0) @binding(4) var<storage, read> labels: array<vec2<u32>>;   // [batch, max_target_length]
@group(0) @binding(5) var<storage, read> input_lengths: array<u32>;  // [batch]
@group(0) @binding(6) var<storage, read> target_lengths: array<u32>; // [batch]
@group(0) @binding(7) var<storage, read> infeasible: array<f32>;     // [batch]
@group(0) @binding(8) var<storage, read_write> gradient: array<f32>; // [rows, vocab], from `start`

override WORKGROUP_SIZE: u32 = 64u;

var<workgroup> partial: array<vec2<f32>, WORKGROUP_SIZE>;

// A state's share of its frame, before it is divided by the sum of all shares.
fn share(row: u32, s: i32, band: vec2<i32>, high: f32) -> f32 {
    if s < band.x || s >= band.y {
        return 0.0;
    }
    let state = alpha[row + u32(s)];
    return exp(state.x - high + state.y);
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = linear_group(group, groups);
    if i >= params.rows {
        return;
    }
    let n = params.first_row + i;
    let local = n / params.time;
    let b = params.first_utterance + local;
    let t = i32(n - local * params.time);
    let frames = i32(min(input_lengths[b], params.time));
    let start = params.start + i * params.vocab;
    if t >= frames || infeasible[b] != 0.0 {
        for (var v = lane; v < params.vocab; v += WORKGROUP_SIZE) {
            gradient[start + v] = 0.0;
        }
        return;
    }

    let count = min(target_lengths[b], params.max_target_length);
    let band = reachable(t, frames, i32(2u * count + 1u));
    let row = n * (2u * params.max_target_length + 1u);
    var high = LOG_ZERO.x;
    for (var s = band.x + i32(lane); s < band.y; s += i32(WORKGROUP_SIZE)) {
        high = max(high, alpha[row + u32(s)].x);
    }
    partial[lane] = vec2<f32>(high);
    workgroupBarrier();
    for (var other = 0u; other < WORKGROUP_SIZE; other++) {
        high = max(high, partial[other].x);
    }
    workgroupBarrier();

    // .x all states, .y the blanks.
    var sums = vec2<f32>(0.0);
    for (var s = band.x + i32(lane); s < band.y; s += i32(WORKGROUP_SIZE)) {
        let one = share(row, s, band, high);
        sums += vec2<f32>(one, select(one, 0.0, (s & 1) == 1));
    }
    partial[lane] = sums;
    let scale = lse[n];
    for (var v = lane; v < params.vocab; v += WORKGROUP_SIZE) {
        gradient[start + v] = exp(logits[start + v] - scale.x - scale.y);
    }
    storageBarrier();
    workgroupBarrier();
    sums = vec2<f32>(0.0);
    for (var other = 0u; other < WORKGROUP_SIZE; other++) {
        sums += partial[other];
    }

    // The lane of a class's first place gathers all its places, so that each class has one writer.
    if lane == 0u {
        gradient[start + params.blank] -= sums.y / sums.x;
    }
    for (var l = lane; l < count; l += WORKGROUP_SIZE) {
        var label = labels[b * params.max_target_length + l];
        let class_id = label.x;
        if class_id >= params.vocab || class_id == params.blank {
            continue;
        }
        var posterior = share(row, i32(2u * l + 1u), band, high);
        while label.y < count {
            posterior += share(row, i32(2u * label.y + 1u), band, high);
            label = labels[b * params.max_target_length + label.y];
        }
        gradient[start + class_id] -= posterior / sums.x;
    }
}
