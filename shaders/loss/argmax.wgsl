// The best class of every row and its softmax probability; one workgroup a row.
//   id = argmax x, the lowest on ties,  probability = 1 / Σ exp(x − max x)
//! workgroup row
//! variant vec4: needs columns % 4
//! variant scalar
#import shared/grid
#import shared/row
#import shared/element
#import loss/row_best

struct Params {
    rows: u32,
    columns: u32, // numbers in a row
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<Element>;             // [rows, columns]
@group(0) @binding(2) var<storage, read_write> ids: array<u32>;         // [rows]
@group(0) @binding(3) var<storage, read_write> probability: array<f32>; // [rows]

override WORKGROUP_SIZE: u32 = 64u;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let columns = params.columns / LANES;
    let row = linear_group(group, groups);
    if row >= params.rows {
        return;
    }
    let start = row * columns;
    var own = Element(NEG_INF);
    var own_columns = Index();
    for (var c = lane; c < columns; c += WORKGROUP_SIZE) {
        let value = x[start + c];
        let better = value > own;
        own = select(own, value, better);
        own_columns = select(own_columns, columns_of(c), better);
    }
    let best = row_best(lane, own, own_columns);
    var sum = Element();
    for (var c = lane; c < columns; c += WORKGROUP_SIZE) {
        sum += exp(x[start + c] - best.value);
    }
    let whole = row_sum(lane, vec2<f32>(total(sum), 0.0)).x;
    if lane == 0u {
        ids[row] = best.column;
        probability[row] = 1.0 / whole;
    }
}
