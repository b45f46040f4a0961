// Reductions over the lanes of one workgroup, to be called by all of them. Every lane combines all partial results, which
// takes two barriers; of more than FEW lanes, FEW first combine those of all, for one barrier more.
#import shared/neg_inf

const FEW: u32 = 8u;

var<workgroup> partial: array<vec2<f32>, WORKGROUP_SIZE>;
var<workgroup> combined: array<vec2<f32>, FEW>;

fn row_sum(lane: u32, value: vec2<f32>) -> vec2<f32> {
    workgroupBarrier();
    partial[lane] = value;
    workgroupBarrier();
    var sum = vec2<f32>(0.0);
    if WORKGROUP_SIZE <= FEW {
        for (var i = 0u; i < WORKGROUP_SIZE; i++) {
            sum += partial[i];
        }
        return sum;
    }
    if lane < FEW {
        for (var i = lane; i < WORKGROUP_SIZE; i += FEW) {
            sum += partial[i];
        }
        combined[lane] = sum;
    }
    workgroupBarrier();
    sum = vec2<f32>(0.0);
    for (var i = 0u; i < FEW; i++) {
        sum += combined[i];
    }
    return sum;
}

fn row_max(lane: u32, value: f32) -> f32 {
    workgroupBarrier();
    partial[lane] = vec2<f32>(value, 0.0);
    workgroupBarrier();
    var largest = NEG_INF;
    if WORKGROUP_SIZE <= FEW {
        for (var i = 0u; i < WORKGROUP_SIZE; i++) {
            largest = max(largest, partial[i].x);
        }
        return largest;
    }
    if lane < FEW {
        for (var i = lane; i < WORKGROUP_SIZE; i += FEW) {
            largest = max(largest, partial[i].x);
        }
        combined[lane] = vec2<f32>(largest, 0.0);
    }
    workgroupBarrier();
    for (var i = 0u; i < FEW; i++) {
        largest = max(largest, combined[i].x);
    }
    return largest;
}
