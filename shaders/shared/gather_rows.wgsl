struct Params {
    elements: u32, // of y
    width: u32,    // elements of a row
    rows: u32,     // of x
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<Word>;       // [rows, width]
@group(0) @binding(2) var<storage, read> index: array<u32>;    // [m]
@group(0) @binding(3) var<storage, read_write> y: array<Word>; // [m, width]

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
    let row = i / params.width;
    let column = i - row * params.width;
    let wanted = index[row];
    if wanted < params.rows {
        y[i] = x[wanted * params.width + column];
    } else {
        y[i] = Word();
    }
}
