// Second level of a convolution's weight gradient: sums the chunks; one invocation a weight or a bias.
//   dweight[c, r] = Σ_chunk partial[chunk, r, c],  dbias[c] = Σ_chunk partial[chunk, partial_rows − 1, c]
//! workgroup map
#import shared/grid

struct Params {
    chunks: u32,
    rows: u32,
    columns: u32,
    partial_rows: u32,
    padded: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> partial: array<f32>;       // [chunks, partial_rows > rows, padded]
@group(0) @binding(2) var<storage, read_write> dweight: array<f32>; // [columns, rows]
@group(0) @binding(3) var<storage, read_write> dbias: array<f32>;   // [columns]

override WORKGROUP_SIZE: u32 = 64u;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = linear_group(group, groups) * WORKGROUP_SIZE + lane;
    let row = i / params.padded;
    let column = i - row * params.padded;
    if row > params.rows || column >= params.columns {
        return;
    }
    let stride = params.partial_rows * params.padded;
    let first = select(row, params.partial_rows - 1u, row == params.rows) * params.padded + column;
    var total = 0.0;
    for (var chunk = 0u; chunk < params.chunks; chunk++) {
        total += partial[chunk * stride + first];
    }
    if row < params.rows {
        dweight[column * params.rows + row] = total;
    } else {
        dbias[column] = total;
    }
}
