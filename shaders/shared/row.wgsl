// Reductions over the lanes of one workgroup, to be called by all of them. Every lane combines all
// partial results: that takes two barriers, which cost more than the additions they save.
#import shared/neg_inf

var<workgroup> partial: array<vec2<f32>, WORKGROUP_SIZE>;

fn row_sum(lane: u32, value: vec2<f32>) -> vec2<f32> {
    workgroupBarrier();
    partial[lane] = value;
    workgroupBarrier();
    var sum = vec2<f32>(0.0);
    for (var i = 0u; i < WORKGROUP_SIZE; i++) {
        sum += partial[i];
    }
    return sum;
}

fn row_max(lane: u32, value: f32) -> f32 {
    workgroupBarrier();
    partial[lane] = vec2<f32>(value, 0.0);
    workgroupBarrier();
    var largest = NEG_INF;
    for (var i = 0u; i < WORKGROUP_SIZE; i++) {
        largest = max(largest, partial[i].x);
    }
    return largest;
}
