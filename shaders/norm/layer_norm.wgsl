// Normalizes every row; one workgroup a row.
//   y = (x − mean)·rstd ∘ weight + bias + addend,  rstd = 1/√(variance + eps)
//! workgroup row
//! variant vec4: needs columns % 4
//! variant scalar
#import shared/grid
#import shared/row
#import shared/element

// The mean of the row is corrected by the mean of what it leaves, so that a mean far above the
// deviation costs no digits.
struct Params {
    rows: u32,
    columns: u32, // numbers in a row
    inverse: f32, // 1 / length of a row
    eps: f32,
    has_addend: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<Element>;       // [rows, columns]; in f16 too; may be y
@group(0) @binding(2) var<storage, read> weight: array<Element>;  // [columns]
@group(0) @binding(3) var<storage, read> bias: array<Element>;    // [columns]
@group(0) @binding(4) var<storage, read> addend: array<Element>;  // [rows, columns]; read with params.has_addend only; in f16 too; may be y
@group(0) @binding(5) var<storage, read_write> y: array<Element>; // [rows, columns]; in f16 too
@group(0) @binding(6) var<storage, read_write> mean: array<f32>;  // [rows]
@group(0) @binding(7) var<storage, read_write> rstd: array<f32>;  // [rows]

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
    var sum = Element();
    for (var c = lane; c < columns; c += WORKGROUP_SIZE) {
        sum += x[start + c];
    }
    let rough = row_sum(lane, vec2<f32>(total(sum), 0.0)).x * params.inverse;
    var first = Element();
    var second = Element();
    for (var c = lane; c < columns; c += WORKGROUP_SIZE) {
        let d = x[start + c] - rough;
        first += d;
        second += d * d;
    }
    let moments = row_sum(lane, vec2<f32>(total(first), total(second))) * params.inverse;
    let scale = 1.0 / sqrt(max(moments.y - moments.x * moments.x, 0.0) + params.eps);
    for (var c = lane; c < columns; c += WORKGROUP_SIZE) {
        var value = ((x[start + c] - rough) - moments.x) * scale * weight[c] + bias[c];
        if params.has_addend != 0u {
            value += addend[start + c];
        }
        y[start + c] = value;
    }
    if lane == 0u {
        mean[row] = rough + moments.x;
        rstd[row] = scale;
    }
}
