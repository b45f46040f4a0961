// A matmul by one invocation for each 16×16 tile of C in registers.
override WORKGROUP_SIZE: u32 = 8u;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    begin();
    let i = linear_group(group, groups) * WORKGROUP_SIZE + lane;
    if i >= tiles(16u) {
        return;
    }
    let tile = tile_at(i, 16u);
    inner = tile.k;
    let batch = tile.batch;
    let row = tile.row;
    let column = tile.column;

    var c00 = mat4x4<f32>();
    var c01 = mat4x4<f32>();
    var c02 = mat4x4<f32>();
    var c03 = mat4x4<f32>();
    var c10 = mat4x4<f32>();
    var c11 = mat4x4<f32>();
    var c12 = mat4x4<f32>();
    var c13 = mat4x4<f32>();
    var c20 = mat4x4<f32>();
    var c21 = mat4x4<f32>();
    var c22 = mat4x4<f32>();
    var c23 = mat4x4<f32>();
    var c30 = mat4x4<f32>();
    var c31 = mat4x4<f32>();
    var c32 = mat4x4<f32>();
    var c33 = mat4x4<f32>();
    let rows0 = rows_of_a(batch, row + 0u);
    let rows1 = rows_of_a(batch, row + 4u);
    let rows2 = rows_of_a(batch, row + 8u);
    let rows3 = rows_of_a(batch, row + 12u);
    let columns0 = columns_of_b(batch, column + 0u);
    let columns1 = columns_of_b(batch, column + 4u);
    let columns2 = columns_of_b(batch, column + 8u);
    let columns3 = columns_of_b(batch, column + 12u);
    // Unrolled by hand: an array of accumulators would live in memory.
    for (var k = 0u; k < tile.k; k += 4u) {
        let a0 = block_a(rows0, k);
        let a1 = block_a(rows1, k);
        let a2 = block_a(rows2, k);
        let a3 = block_a(rows3, k);
        let b0 = block_b(columns0, k);
        c00 += b0 * a0;
        c10 += b0 * a1;
        c20 += b0 * a2;
        c30 += b0 * a3;
        let b1 = block_b(columns1, k);
        c01 += b1 * a0;
        c11 += b1 * a1;
        c21 += b1 * a2;
        c31 += b1 * a3;
        let b2 = block_b(columns2, k);
        c02 += b2 * a0;
        c12 += b2 * a1;
        c22 += b2 * a2;
        c32 += b2 * a3;
        let b3 = block_b(columns3, k);
        c03 += b3 * a0;
        c13 += b3 * a1;
        c23 += b3 * a2;
        c33 += b3 * a3;
    }
    store_block(batch, row + 0u, column + 0u, c00);
    store_block(batch, row + 0u, column + 4u, c01);
    store_block(batch, row + 0u, column + 8u, c02);
    store_block(batch, row + 0u, column + 12u, c03);
    store_block(batch, row + 4u, column + 0u, c10);
    store_block(batch, row + 4u, column + 4u, c11);
    store_block(batch, row + 4u, column + 8u, c12);
    store_block(batch, row + 4u, column + 12u, c13);
    store_block(batch, row + 8u, column + 0u, c20);
    store_block(batch, row + 8u, column + 4u, c21);
    store_block(batch, row + 8u, column + 8u, c22);
    store_block(batch, row + 8u, column + 12u, c23);
    store_block(batch, row + 12u, column + 0u, c30);
    store_block(batch, row + 12u, column + 4u, c31);
    store_block(batch, row + 12u, column + 8u, c32);
    store_block(batch, row + 12u, column + 12u, c33);
}
