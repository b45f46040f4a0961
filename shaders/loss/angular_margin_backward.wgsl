// Gradient of the additive angular margin; one invocation an element.
//   dx[r, target] = dy·(cos m + sin m·cos θ / sin θ) where θ + m < π; dx = dy elsewhere
//! workgroup map
#import shared/grid
#import loss/margin

struct Params {
    elements: u32,
    columns: u32, // classes of a row
    first: u32,   // number of the first element, of the whole tensor
    cosine: f32,  // of the margin
    sine: f32,
    shift: f32,   // margin · sine
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;        // [rows, columns], cosines
@group(0) @binding(2) var<storage, read> targets: array<u32>;  // [rows of the whole tensor]
@group(0) @binding(3) var<storage, read> dy: array<f32>;       // [rows, columns]; may be dx
@group(0) @binding(4) var<storage, read_write> dx: array<f32>; // [rows, columns]

override WORKGROUP_SIZE: u32 = 64u;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = linear_group(group, groups) * WORKGROUP_SIZE + lane;
    if i >= params.elements {
        return;
    }
    let row = (params.first + i) / params.columns;
    let column = params.first + i - row * params.columns;
    var derivative = 1.0;
    if column == targets[row] && x[i] > -params.cosine {
        let square = square_of_sine(x[i]);
        derivative = params.cosine;
        if square > LEAST_SQUARE {
            derivative += params.sine * x[i] / sqrt(square);
        }
    }
    dx[i] = dy[i] * derivative;
}
