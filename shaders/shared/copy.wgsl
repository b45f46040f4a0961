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
@group(0) @binding(1) var<storage, read> x: array<Word>;       // [dim_0, dim_1, dim_2, dim_3] from x_first, strides x_0 .. x_3
@group(0) @binding(2) var<storage, read_write> y: array<Word>; // [dim_0, dim_1, dim_2, dim_3] from y_first, strides y_0 .. y_3

override WIDTH: u32 = 64u;

@compute @workgroup_size(WIDTH)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = linear_group(group, groups) * WIDTH + lane;
    if i >= params.elements {
        return;
    }
    let row = i / params.size_3;
    let i_3 = i - row * params.size_3;
    let plane = row / params.size_2;
    let i_2 = row - plane * params.size_2;
    let i_0 = plane / params.size_1;
    let i_1 = plane - i_0 * params.size_1;
    let source = params.x_first + i_0 * params.x_0 + i_1 * params.x_1 + i_2 * params.x_2 + i_3 * params.x_3;
    let destination = params.y_first + i_0 * params.y_0 + i_1 * params.y_1 + i_2 * params.y_2 + i_3 * params.y_3;
    y[destination] = x[source];
}
