// Normalizes the rows of a mask; one workgroup a row, a lane sums a run of frames.
//   weight_t = mask_t / Σ_s mask_s;  CAUSAL: weight_t = 1 / Σ_{s ≤ t} mask_s;  0 where the sum is 0
//! workgroup row
#import shared/grid

struct Params {
    rows: u32,
    time: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> mask: array<f32>;         // [rows, time]
@group(0) @binding(2) var<storage, read_write> weight: array<f32>; // [rows, time]

override WORKGROUP_SIZE: u32 = 64u;
override CAUSAL: bool = false;

var<workgroup> sums: array<f32, WORKGROUP_SIZE>;

fn inverse(x: f32) -> f32 {
    if x == 0.0 {
        return 0.0;
    }
    return 1.0 / x;
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = linear_group(group, groups);
    if row >= params.rows {
        return;
    }
    let run = (params.time + WORKGROUP_SIZE - 1u) / WORKGROUP_SIZE;
    let begin = row * params.time + min(lane * run, params.time);
    let end = row * params.time + min((lane + 1u) * run, params.time);
    var own = 0.0;
    for (var t = begin; t < end; t++) {
        own += mask[t];
    }
    sums[lane] = own;
    workgroupBarrier();
    var total = 0.0;
    var running = 0.0;
    for (var other = 0u; other < WORKGROUP_SIZE; other++) {
        running = select(running, total, other == lane);
        total += sums[other];
    }
    for (var t = begin; t < end; t++) {
        running += mask[t];
        weight[t] = select(mask[t] * inverse(total), inverse(running), CAUSAL);
    }
}
