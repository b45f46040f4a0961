// A matmul by one invocation for each 8×8 tile of C in registers.
override WORKGROUP_SIZE: u32 = 8u;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    begin();
    let i = linear_group(group, groups) * WORKGROUP_SIZE + lane;
    if i >= tiles(8u) {
        return;
    }
    let tile = tile_at(i, 8u);
    inner = tile.k;
    let batch = tile.batch;
    let row = tile.row;
    let column = tile.column;

    var c00 = mat4x4<f32>();
    var c01 = mat4x4<f32>();
    var c10 = mat4x4<f32>();
    var c11 = mat4x4<f32>();
    let rows0 = rows_of_a(batch, row);
    let rows1 = rows_of_a(batch, row + 4u);
    let columns0 = columns_of_b(batch, column);
    let columns1 = columns_of_b(batch, column + 4u);
    // Unrolled by hand: an array of accumulators would live in memory.
    for (var k = 0u; k < tile.k; k += 4u) {
        let a0 = block_a(rows0, k);
        let a1 = block_a(rows1, k);
        let b0 = block_b(columns0, k);
        c00 += b0 * a0;
        c10 += b0 * a1;
        let b1 = block_b(columns1, k);
        c01 += b1 * a0;
        c11 += b1 * a1;
    }
    store_block(batch, row, column, c00);
    store_block(batch, row, column + 4u, c01);
    store_block(batch, row + 4u, column, c10);
    store_block(batch, row + 4u, column + 4u, c11);
}
