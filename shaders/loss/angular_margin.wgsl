// Adds a margin to the angle of every row's own class; one invocation an element.
//   y[r, target] = cos(θ + m) where θ + m < π, else cos θ − m·sin m; y[r, c] = cos θ of other classes
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
@group(0) @binding(1) var<storage, read> x: array<f32>;       // [rows, columns], cosines; may be y
@group(0) @binding(2) var<storage, read> targets: array<u32>; // [rows of the whole tensor]
@group(0) @binding(3) var<storage, read_write> y: array<f32>; // [rows, columns]

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
    var value = x[i];
    if column == targets[row] {
        if value > -params.cosine {
            value = value * params.cosine - sqrt(square_of_sine(value)) * params.sine;
        } else {
            value -= params.shift;
        }
    }
    y[i] = value;
}
