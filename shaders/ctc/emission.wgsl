// The log-sum-exp of every frame's logits and the scores of the target's classes; one workgroup a frame.
//   lse[n] = (max_v logits[n, v], log Σ_v exp(logits[n, v] − max)), with frame n = (utterance, t)
//   emissions[n]  = logits[n, class] − max as a pair, of the blank and then of each label
//! workgroup row
#import shared/grid
#import ctc/pairs

struct Params {
    rows: u32,
    // The first row, counted from the tile's first utterance.
    first_row: u32,
    // Where that row starts in `logits`.
    start: u32,
    first_utterance: u32,
    time: u32,
    vocab: u32,
    max_target_length: u32,
    blank: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> logits: array<f32>;                // [rows, vocab], from `start`
@group(0) @binding(2) var<storage, read> targets: array<u32>;               // [batch, max_target_length]
@group(0) @binding(3) var<storage, read> input_lengths: array<u32>;         // [batch]
@group(0) @binding(4) var<storage, read> target_lengths: array<u32>;        // [batch]
@group(0) @binding(5) var<storage, read_write> lse: array<vec2<f32>>;       // [utterances, time]
@group(0) @binding(6) var<storage, read_write> emissions: array<vec2<f32>>; // [utterances, time, 1 + max_target_length]

override WORKGROUP_SIZE: u32 = 64u;

var<workgroup> partial: array<vec2<f32>, WORKGROUP_SIZE>;

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
    let row = params.first_row + i;
    let local = row / params.time;
    let b = params.first_utterance + local;
    if row - local * params.time >= input_lengths[b] {
        return;
    }
    let start = params.start + i * params.vocab;

    var high = -3e38;
    for (var v = lane; v < params.vocab; v += WORKGROUP_SIZE) {
        high = max(high, logits[start + v]);
    }
    partial[lane] = vec2<f32>(high);
    workgroupBarrier();
    for (var other = 0u; other < WORKGROUP_SIZE; other++) {
        high = max(high, partial[other].x);
    }
    workgroupBarrier();

    // .x below the maximum, .y how often there is the maximum: 1 + x would round a small x away.
    var sum = vec2<f32>(0.0);
    for (var v = lane; v < params.vocab; v += WORKGROUP_SIZE) {
        let x = logits[start + v];
        sum += select(vec2<f32>(exp(x - high), 0.0), vec2<f32>(0.0, 1.0), x == high);
    }
    partial[lane] = sum;
    workgroupBarrier();
    if lane == 0u {
        var total = vec2<f32>(0.0, -1.0);
        for (var other = 0u; other < WORKGROUP_SIZE; other++) {
            total += partial[other];
        }
        let others = total.x + total.y;
        lse[row] = vec2<f32>(high, select(log(1.0 + others), log_1p(others), others <= 2.0));
    }

    let scores = row * (params.max_target_length + 1u);
    let count = min(target_lengths[b], params.max_target_length) + 1u;
    for (var l = lane; l < count; l += WORKGROUP_SIZE) {
        var class_id = params.blank;
        var exists = true;
        if l > 0u {
            class_id = targets[b * params.max_target_length + l - 1u];
            exists = class_id < params.vocab && class_id != params.blank;
        }
        var score = LOG_ZERO;
        if exists && logits[start + class_id] > NEARLY_LOG_ZERO {
            let x = logits[start + class_id];
            let whole = round(x);
            let most = round(high);
            score = carry(vec2<f32>(whole - most, (x - whole) - (high - most)));
        }
        emissions[scores + l] = score;
    }
}
