// Gradient of softmax and of its logarithm; one workgroup a row.
//   dx = y ∘ (dy − Σ y ∘ dy)   or, of the logarithm,   dx = dy − exp(y)·Σ dy
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
@group(0) @binding(1) var<storage, read> y: array<Element>;        // [rows, columns]
@group(0) @binding(2) var<storage, read> dy: array<Element>;       // [rows, columns]
@group(0) @binding(3) var<storage, read_write> dx: array<Element>; // [rows, columns]

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
    var sum = Element();
    for (var c = lane; c < columns; c += WORKGROUP_SIZE) {
        sum += select(dy[start + c] * y[start + c], dy[start + c], LOGARITHM);
    }
    let whole = row_sum(lane, vec2<f32>(total(sum), 0.0)).x;
    for (var c = lane; c < columns; c += WORKGROUP_SIZE) {
        if LOGARITHM {
            dx[start + c] = dy[start + c] - exp(y[start + c]) * whole;
        } else {
            dx[start + c] = y[start + c] * (dy[start + c] - whole);
        }
    }
}
