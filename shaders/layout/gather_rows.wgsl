// Picks rows; one invocation an element.
//   y[m] = x[index[m]], 0 where there is no such row
//! workgroup map
//! variant vec4: needs width % 4; takes 4 an invocation
//! variant scalar
#import shared/grid
#import layout/word

struct Params {
    elements: u32, // of y
    width: u32,    // numbers in a row
    rows: u32,     // of x
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<Word>;       // [rows, width]; in f16 too
@group(0) @binding(2) var<storage, read> index: array<u32>;    // [m]
@group(0) @binding(3) var<storage, read_write> y: array<Word>; // [m, width]; in f16 too

override WORKGROUP_SIZE: u32 = 64u;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let width = params.width / LANES;
    let i = linear_group(group, groups) * WORKGROUP_SIZE + lane;
    if i >= params.elements / LANES {
        return;
    }
    let row = i / width;
    let column = i - row * width;
    let wanted = index[row];
    if wanted < params.rows {
        y[i] = x[wanted * width + column];
    } else {
        y[i] = Word();
    }
}
