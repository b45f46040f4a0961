// Copies planes of a matrix, transposed as the strides say, with its rows padded by zeros; one invocation an element.
//   y[p, r, c] = x[p + r·row_stride + c·column_stride] for c < columns, else 0
#import shared/grid

struct Params {
    planes: u32,
    rows: u32,
    columns: u32,
    padded: u32,
    row_stride: u32,
    column_stride: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;       // [planes · rows · columns] in any order
@group(0) @binding(2) var<storage, read_write> y: array<f32>; // [planes, rows, padded]

override WIDTH: u32 = 64u;

@compute @workgroup_size(WIDTH)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = linear_group(group, groups) * WIDTH + lane;
    if i >= params.planes * params.rows * params.padded {
        return;
    }
    let block = i / params.padded;
    let column = i - block * params.padded;
    let plane = block / params.rows;
    let row = block - plane * params.rows;
    if column < params.columns {
        y[i] = x[plane + row * params.row_stride + column * params.column_stride];
    } else {
        y[i] = 0.0;
    }
}
