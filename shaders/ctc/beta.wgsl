// The backward recursion over a run of frames; one workgroup an utterance, its lanes stride over the states.
// Turns alpha into the logarithm of every state's posterior, up to a constant a frame.
//   rest[t, s] = log Σ_{s → r} exp(beta[t + 1, r] − peak[t + 1]), 0 at the end
//   beta[t, s] = emission[t, s] + rest[t, s],  peak[t] = the whole part of max_s beta[t, s]
//   alpha[t, s] ← alpha[t, s] + rest[t, s]
//! workgroup row
#import shared/grid
#import ctc/pairs

struct Params {
    utterances: u32,
    first_utterance: u32,
    first_frame: u32,
    last_frame: u32,
    time: u32,
    max_target_length: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> emissions: array<vec2<f32>>;   // [utterances, time, 1 + max_target_length]
@group(0) @binding(2) var<storage, read> targets: array<u32>;           // [batch, max_target_length]
@group(0) @binding(3) var<storage, read> input_lengths: array<u32>;     // [batch]
@group(0) @binding(4) var<storage, read> target_lengths: array<u32>;    // [batch]
@group(0) @binding(5) var<storage, read_write> alpha: array<vec2<f32>>; // [utterances, time, 2 · max_target_length + 1]
@group(0) @binding(6) var<storage, read_write> beta: array<vec2<f32>>;  // [utterances, 2, 2 · max_target_length + 1]
@group(0) @binding(7) var<storage, read_write> peaks: array<f32>;       // [utterances, time]

override WORKGROUP_SIZE: u32 = 64u;

// Two halves by the frame's parity, as in `beta`, so that one barrier a frame is enough.
var<workgroup> highest: array<f32, 2u * WORKGROUP_SIZE>;

fn at(row: u32, s: i32, band: vec2<i32>) -> vec2<f32> {
    if s < band.x || s >= band.y {
        return LOG_ZERO;
    }
    return beta[row + u32(s)];
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let local = linear_group(group, groups);
    if local >= params.utterances {
        return;
    }
    let b = params.first_utterance + local;
    let frames = i32(min(input_lengths[b], params.time));
    let labels = min(target_lengths[b], params.max_target_length);
    let states = i32(2u * labels + 1u);
    let width = 2u * params.max_target_length + 1u;
    let target_row = b * params.max_target_length;

    let last = min(frames, i32(params.last_frame));

    var peak = 0.0;
    if last < frames {
        peak = peaks[local * params.time + params.last_frame];
    }
    for (var t = last - 1; t >= i32(params.first_frame); t--) {
        let n = local * params.time + u32(t);
        let scores = n * (params.max_target_length + 1u);
        let row = n * width;
        let own = (2u * local + u32(t & 1)) * width;
        let next = (2u * local + u32((t + 1) & 1)) * width;
        let band = reachable(t, frames, states);
        let after = reachable(t + 1, frames, states);
        var high = LOG_ZERO.x;
        for (var s = band.x + i32(lane); s < band.y; s += i32(WORKGROUP_SIZE)) {
            let l = u32(s) / 2u;
            let is_label = (s & 1) == 1;
            var rest = vec2<f32>(0.0);
            if t < frames - 1 {
                var skipped = LOG_ZERO;
                if is_label && l + 1u < labels && targets[target_row + l] != targets[target_row + l + 1u] {
                    skipped = at(next, s + 2, after);
                }
                rest = log_sum(at(next, s, after), at(next, s + 1, after), skipped) - vec2<f32>(peak, 0.0);
            }
            let value = carry(emissions[scores + select(0u, l + 1u, is_label)] + rest);
            beta[own + u32(s)] = value;
            high = max(high, value.x);
            alpha[row + u32(s)] = carry(alpha[row + u32(s)] + rest);
        }
        let half = u32(t & 1) * WORKGROUP_SIZE;
        highest[half + lane] = high;
        storageBarrier();
        workgroupBarrier();
        for (var other = 0u; other < WORKGROUP_SIZE; other++) {
            high = max(high, highest[half + other]);
        }
        peak = select(0.0, high, high > NEARLY_LOG_ZERO);
        if lane == 0u {
            peaks[n] = peak;
        }
    }
}
