// Copies a box of up to four axes between two strided places; one invocation an element.
//   y[y_first + Σ i_a·y_a] = x[x_first + Σ i_a·x_a]
//! workgroup map
//! variant vec4: needs size_3 % 4, x_first % 4, x_0 % 4, x_1 % 4, x_2 % 4, y_first % 4, y_0 % 4, y_1 % 4, y_2 % 4, x_3 = 1, y_3 = 1; takes 4 an invocation
//! variant scalar
#import shared/grid
#import layout/word

struct Params {
    elements: u32,
    size_1: u32,
    size_2: u32,
    size_3: u32,
    x_first: u32,
    x_0: u32,
    x_1: u32,
    x_2: u32,
    x_3: u32,
    y_first: u32,
    y_0: u32,
    y_1: u32,
    y_2: u32,
    y_3: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<Word>;       // [dim_0, dim_1, dim_2, dim_3] from x_first, strides x_0 .. x_3; in f16 too
@group(0) @binding(2) var<storage, read_write> y: array<Word>; // [dim_0, dim_1, dim_2, dim_3] from y_first, strides y_0 .. y_3; in f16 too

override WORKGROUP_SIZE: u32 = 64u;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let size_3 = params.size_3 / LANES;
    let i = linear_group(group, groups) * WORKGROUP_SIZE + lane;
    if i >= params.elements / LANES {
        return;
    }
    let row = i / size_3;
    let i_3 = i - row * size_3;
    let plane = row / params.size_2;
    let i_2 = row - plane * params.size_2;
    let i_0 = plane / params.size_1;
    let i_1 = plane - i_0 * params.size_1;
    let source = params.x_first + i_0 * params.x_0 + i_1 * params.x_1 + i_2 * params.x_2;
    let destination = params.y_first + i_0 * params.y_0 + i_1 * params.y_1 + i_2 * params.y_2;
    y[destination / LANES + i_3 * params.y_3] = x[source / LANES + i_3 * params.x_3];
}
