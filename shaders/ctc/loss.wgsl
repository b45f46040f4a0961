// The loss from the forward variables; one workgroup an utterance, its lanes stride over the frames.
//   loss = −(Σ_t (peak[t − 1] − log Σ_v exp(logits[t, v] − max)) + log Σ_{last two s} exp(alpha[frames − 1, s]))
//! workgroup row
#import shared/grid
#import ctc/pairs

struct Params {
    utterances: u32,
    first_utterance: u32,
    time: u32,
    max_target_length: u32,
    // The loss of an impossible target.
    impossible: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> lse: array<vec2<f32>>;        // [utterances, time]
@group(0) @binding(2) var<storage, read> peaks: array<f32>;            // [utterances, time]
@group(0) @binding(3) var<storage, read> alpha: array<vec2<f32>>;      // [utterances, time, 2 · max_target_length + 1]
@group(0) @binding(4) var<storage, read> input_lengths: array<u32>;    // [batch]
@group(0) @binding(5) var<storage, read> target_lengths: array<u32>;   // [batch]
@group(0) @binding(6) var<storage, read_write> loss: array<f32>;       // [batch]
@group(0) @binding(7) var<storage, read_write> infeasible: array<f32>; // [batch]

override WORKGROUP_SIZE: u32 = 64u;

var<workgroup> partial: array<vec2<f32>, WORKGROUP_SIZE>;

// Adds to a sum of two floats: multiples of 1/16, exact up to a million, and a remainder below 1/16.
// Rounding to a grid, unlike a compensated sum, survives compilers that reorder additions.
fn accumulate(sum: vec2<f32>, x: f32) -> vec2<f32> {
    let rest = sum.y + x;
    let step = round(rest * 16.0) * 0.0625;
    return vec2<f32>(sum.x + step, rest - step);
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
    let frames = min(input_lengths[b], params.time);
    let first = local * params.time;
    var sum = vec2<f32>(0.0);
    for (var t = lane; t < frames; t += WORKGROUP_SIZE) {
        var taken_out = -lse[first + t].y;
        if t > 0u {
            taken_out += peaks[first + t - 1u];
        }
        sum = accumulate(sum, taken_out);
    }
    partial[lane] = sum;
    workgroupBarrier();
    if lane != 0u {
        return;
    }
    var total = vec2<f32>(0.0);
    for (var other = 0u; other < WORKGROUP_SIZE; other++) {
        total = accumulate(total + vec2<f32>(partial[other].x, 0.0), partial[other].y);
    }

    let labels = min(target_lengths[b], params.max_target_length);
    let states = i32(2u * labels + 1u);
    var log_end = LOG_ZERO;
    if frames > 0u {
        let row = (first + frames - 1u) * (2u * params.max_target_length + 1u);
        let band = reachable(i32(frames) - 1, i32(frames), states);
        for (var s = band.x; s < band.y; s++) {
            log_end = log_sum(log_end, alpha[row + u32(s)], LOG_ZERO);
        }
    } else if labels == 0u {
        log_end = vec2<f32>(0.0);
    }
    let in_range = input_lengths[b] <= params.time && target_lengths[b] <= params.max_target_length;
    let fits = in_range && log_end.x > NEARLY_LOG_ZERO;
    // All bits of the exponent set: the logits were not finite, which the loss must show.
    let finite = (bitcast<u32>(total.x + total.y) & 0x7f800000u) != 0x7f800000u;
    loss[b] = select(params.impossible, -((total.x + log_end.x) + (total.y + log_end.y)), fits || !finite);
    infeasible[b] = select(0.0, 1.0, !fits && finite);
}
