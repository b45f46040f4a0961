// Softmax of every row or its logarithm; one workgroup a row.
//   y = exp(x − max x) / Σ exp(x − max x)
//! workgroup row
//! variant vec4: needs columns % 4
//! variant scalar
#import shared/grid
#import shared/row
#import shared/element

struct Params {
    rows: u32,
    columns: u32, // numbers in a row
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<Element>;       // [rows, columns]
@group(0) @binding(2) var<storage, read_write> y: array<Element>; // [rows, columns]

override WORKGROUP_SIZE: u32 = 64u;
override LOGARITHM: bool = false;

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
    var top = Element(NEG_INF);
    for (var c = lane; c < columns; c += WORKGROUP_SIZE) {
        top = max(top, x[start + c]);
    }
    let shift = row_max(lane, largest(top));
    var sum = Element();
    for (var c = lane; c < columns; c += WORKGROUP_SIZE) {
        sum += exp(x[start + c] - shift);
    }
    let whole = row_sum(lane, vec2<f32>(total(sum), 0.0)).x;
    if LOGARITHM {
        let logarithm = log(whole);
        for (var c = lane; c < columns; c += WORKGROUP_SIZE) {
            y[start + c] = (x[start + c] - shift) - logarithm;
        }
        return;
    }
    let scale = 1.0 / whole;
    for (var c = lane; c < columns; c += WORKGROUP_SIZE) {
        y[start + c] = exp(x[start + c] - shift) * scale;
    }
}
