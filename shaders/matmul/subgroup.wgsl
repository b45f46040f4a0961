// A matmul by one subgroup of 8 for each 32×32 tile of C in registers.
const WORKGROUP_SIZE: u32 = 8u;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    begin();
    let i = linear_group(group, groups);
    if i >= tiles(32u) {
        return;
    }
    let tile = tile_at(i, 32u);
    inner = tile.k;
    let batch = tile.batch;
    let row = tile.row + 4u * lane;
    let column = tile.column + 4u * lane;

    var c0 = mat4x4<f32>();
    var c1 = mat4x4<f32>();
    var c2 = mat4x4<f32>();
    var c3 = mat4x4<f32>();
    var c4 = mat4x4<f32>();
    var c5 = mat4x4<f32>();
    var c6 = mat4x4<f32>();
    var c7 = mat4x4<f32>();
    let columns = columns_of_b(batch, column);
    let rows = rows_of_a(batch, row);
    // Unrolled by hand: an array of accumulators would live in memory.
    for (var k = 0u; k < tile.k; k += 4u) {
        let y = block_b(columns, k);
        let x = block_a(rows, k);
        c0 += y * mat4x4<f32>(
            subgroupBroadcast(x[0], 0u),
            subgroupBroadcast(x[1], 0u),
            subgroupBroadcast(x[2], 0u),
            subgroupBroadcast(x[3], 0u),
        );
        c1 += y * mat4x4<f32>(
            subgroupBroadcast(x[0], 1u),
            subgroupBroadcast(x[1], 1u),
            subgroupBroadcast(x[2], 1u),
            subgroupBroadcast(x[3], 1u),
        );
        c2 += y * mat4x4<f32>(
            subgroupBroadcast(x[0], 2u),
            subgroupBroadcast(x[1], 2u),
            subgroupBroadcast(x[2], 2u),
            subgroupBroadcast(x[3], 2u),
        );
        c3 += y * mat4x4<f32>(
            subgroupBroadcast(x[0], 3u),
            subgroupBroadcast(x[1], 3u),
            subgroupBroadcast(x[2], 3u),
            subgroupBroadcast(x[3], 3u),
        );
        c4 += y * mat4x4<f32>(
            subgroupBroadcast(x[0], 4u),
            subgroupBroadcast(x[1], 4u),
            subgroupBroadcast(x[2], 4u),
            subgroupBroadcast(x[3], 4u),
        );
        c5 += y * mat4x4<f32>(
            subgroupBroadcast(x[0], 5u),
            subgroupBroadcast(x[1], 5u),
            subgroupBroadcast(x[2], 5u),
            subgroupBroadcast(x[3], 5u),
        );
        c6 += y * mat4x4<f32>(
            subgroupBroadcast(x[0], 6u),
            subgroupBroadcast(x[1], 6u),
            subgroupBroadcast(x[2], 6u),
            subgroupBroadcast(x[3], 6u),
        );
        c7 += y * mat4x4<f32>(
            subgroupBroadcast(x[0], 7u),
            subgroupBroadcast(x[1], 7u),
            subgroupBroadcast(x[2], 7u),
            subgroupBroadcast(x[3], 7u),
        );
    }
    // Loops that drivers do not unroll, so that they compile what follows the matmul once. The blocks, and in one its
    // rows, move up: an array of them would live in memory.
    let end = min(tile.row + 32u, params.m);
    for (var first = tile.row; first < end; first += 4u) {
        let last = min(first + 4u, end);
        for (var r = first; r < last; r++) {
            store_row(batch, r, column, c0[0]);
            c0 = mat4x4<f32>(c0[1], c0[2], c0[3], c0[3]);
        }
        c0 = c1;
        c1 = c2;
        c2 = c3;
        c3 = c4;
        c4 = c5;
        c5 = c6;
        c6 = c7;
    }
}
