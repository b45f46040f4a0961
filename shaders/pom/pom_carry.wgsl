// Sums the last rows of all chunks before each chunk, behind it if REVERSE; one invocation takes a column.
//   carry[c] = Σ_{s < c} x[last row of chunk s]
//! workgroup map
#import shared/grid

struct Params {
    batches: u32,
    rows: u32,
    columns: u32,
    chunk: u32,
    chunks: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;           // [batches, rows, columns]
@group(0) @binding(2) var<storage, read_write> carry: array<f32>; // [batches, chunks, columns]

override WORKGROUP_SIZE: u32 = 64u;
override REVERSE: bool = false;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = linear_group(group, groups) * WORKGROUP_SIZE + lane;
    if i >= params.batches * params.columns {
        return;
    }
    let batch = i / params.columns;
    let column = i - batch * params.columns;
    var total = 0.0;
    for (var step = 0u; step < params.chunks; step++) {
        let chunk = select(step, params.chunks - 1u - step, REVERSE);
        let row = min((chunk + 1u) * params.chunk, params.rows) - 1u;
        carry[(batch * params.chunks + chunk) * params.columns + column] = total;
        total += x[(batch * params.rows + row) * params.columns + column];
    }
}
