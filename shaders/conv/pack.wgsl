// Copies planes of a matrix, transposed as the strides say, padded by zeros or cropped; one invocation an element.
//   y[p, r, c] = x[p + r·row_stride + c·column_stride] for r < rows and c < columns, else 0
//! workgroup map
#import shared/grid

struct Params {
    planes: u32,
    rows: u32,
    columns: u32,
    y_rows: u32,
    y_columns: u32,
    row_stride: u32,
    column_stride: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;       // [planes, rows, columns] in any order
@group(0) @binding(2) var<storage, read_write> y: array<f32>; // [planes, y_rows, y_columns]

override WORKGROUP_SIZE: u32 = 64u;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = linear_group(group, groups) * WORKGROUP_SIZE + lane;
    if i >= params.planes * params.y_rows * params.y_columns {
        return;
    }
    let block = i / params.y_columns;
    let column = i - block * params.y_columns;
    let plane = block / params.y_rows;
    let row = block - plane * params.y_rows;
    if row < params.rows && column < params.columns {
        y[i] = x[plane + row * params.row_stride + column * params.column_stride];
    } else {
        y[i] = 0.0;
    }
}
