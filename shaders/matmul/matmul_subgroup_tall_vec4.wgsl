// Matrix product for adapters with subgroups of exactly 8; one subgroup owns a 64×32 tile of C in
// registers: each lane loads 4×4 blocks of A and B, and broadcasts those of A to the others.
//   C = alpha · op(A)·op(B) + bias
// A, B, bias and C are read and written four at a time: the innermost dimension of each, and the batch
// strides, are multiples of 4.
// Grid: batch·⌈m/64⌉·⌈n/32⌉ workgroups, folded over x and y.
#import shared/grid
#import shared/matmul_params
#import shared/matmul_block_vec4

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<vec4<f32>>;       // [batch, m, k], TRANSPOSE_A: [batch, k, m]
@group(0) @binding(2) var<storage, read> b: array<vec4<f32>>;       // [batch, k, n], TRANSPOSE_B: [batch, n, k]
@group(0) @binding(3) var<storage, read> bias: array<vec4<f32>>;    // [n]; read with HAS_BIAS only
@group(0) @binding(4) var<storage, read_write> c: array<vec4<f32>>; // [batch, m, n]

const WIDTH: u32 = 8u;

@compute @workgroup_size(WIDTH)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let tiles_n = (params.n + 31u) / 32u;
    let tiles = tiles_n * ((params.m + 63u) / 64u);
    let i = linear_group(group, groups);
    if i >= tiles * params.batch {
        return;
    }
    let batch = i / tiles;
    let tile = i % tiles;
    let row = tile / tiles_n * 64u + 4u * lane;
    let column = tile % tiles_n * 32u + 4u * lane;

    var c00 = mat4x4<f32>();
    var c01 = mat4x4<f32>();
    var c02 = mat4x4<f32>();
    var c03 = mat4x4<f32>();
    var c04 = mat4x4<f32>();
    var c05 = mat4x4<f32>();
    var c06 = mat4x4<f32>();
    var c07 = mat4x4<f32>();
    var c10 = mat4x4<f32>();
    var c11 = mat4x4<f32>();
    var c12 = mat4x4<f32>();
    var c13 = mat4x4<f32>();
    var c14 = mat4x4<f32>();
    var c15 = mat4x4<f32>();
    var c16 = mat4x4<f32>();
    var c17 = mat4x4<f32>();
    // Unrolled by hand: an array of accumulators would live in memory.
    for (var k = 0u; k < params.k; k += 4u) {
        let y = block_b(batch, column, k);
        let x0 = block_a(batch, row, k);
        c00 += y * mat4x4<f32>(
            subgroupBroadcast(x0[0], 0u),
            subgroupBroadcast(x0[1], 0u),
            subgroupBroadcast(x0[2], 0u),
            subgroupBroadcast(x0[3], 0u),
        );
        c01 += y * mat4x4<f32>(
            subgroupBroadcast(x0[0], 1u),
            subgroupBroadcast(x0[1], 1u),
            subgroupBroadcast(x0[2], 1u),
            subgroupBroadcast(x0[3], 1u),
        );
        c02 += y * mat4x4<f32>(
            subgroupBroadcast(x0[0], 2u),
            subgroupBroadcast(x0[1], 2u),
            subgroupBroadcast(x0[2], 2u),
            subgroupBroadcast(x0[3], 2u),
        );
        c03 += y * mat4x4<f32>(
            subgroupBroadcast(x0[0], 3u),
            subgroupBroadcast(x0[1], 3u),
            subgroupBroadcast(x0[2], 3u),
            subgroupBroadcast(x0[3], 3u),
        );
        c04 += y * mat4x4<f32>(
            subgroupBroadcast(x0[0], 4u),
            subgroupBroadcast(x0[1], 4u),
            subgroupBroadcast(x0[2], 4u),
            subgroupBroadcast(x0[3], 4u),
        );
        c05 += y * mat4x4<f32>(
            subgroupBroadcast(x0[0], 5u),
            subgroupBroadcast(x0[1], 5u),
            subgroupBroadcast(x0[2], 5u),
            subgroupBroadcast(x0[3], 5u),
        );
        c06 += y * mat4x4<f32>(
            subgroupBroadcast(x0[0], 6u),
            subgroupBroadcast(x0[1], 6u),
            subgroupBroadcast(x0[2], 6u),
            subgroupBroadcast(x0[3], 6u),
        );
        c07 += y * mat4x4<f32>(
            subgroupBroadcast(x0[0], 7u),
            subgroupBroadcast(x0[1], 7u),
            subgroupBroadcast(x0[2], 7u),
            subgroupBroadcast(x0[3], 7u),
        );
        let x1 = block_a(batch, row + 32u, k);
        c10 += y * mat4x4<f32>(
            subgroupBroadcast(x1[0], 0u),
            subgroupBroadcast(x1[1], 0u),
            subgroupBroadcast(x1[2], 0u),
            subgroupBroadcast(x1[3], 0u),
        );
        c11 += y * mat4x4<f32>(
            subgroupBroadcast(x1[0], 1u),
            subgroupBroadcast(x1[1], 1u),
            subgroupBroadcast(x1[2], 1u),
            subgroupBroadcast(x1[3], 1u),
        );
        c12 += y * mat4x4<f32>(
            subgroupBroadcast(x1[0], 2u),
            subgroupBroadcast(x1[1], 2u),
            subgroupBroadcast(x1[2], 2u),
            subgroupBroadcast(x1[3], 2u),
        );
        c13 += y * mat4x4<f32>(
            subgroupBroadcast(x1[0], 3u),
            subgroupBroadcast(x1[1], 3u),
            subgroupBroadcast(x1[2], 3u),
            subgroupBroadcast(x1[3], 3u),
        );
        c14 += y * mat4x4<f32>(
            subgroupBroadcast(x1[0], 4u),
            subgroupBroadcast(x1[1], 4u),
            subgroupBroadcast(x1[2], 4u),
            subgroupBroadcast(x1[3], 4u),
        );
        c15 += y * mat4x4<f32>(
            subgroupBroadcast(x1[0], 5u),
            subgroupBroadcast(x1[1], 5u),
            subgroupBroadcast(x1[2], 5u),
            subgroupBroadcast(x1[3], 5u),
        );
        c16 += y * mat4x4<f32>(
            subgroupBroadcast(x1[0], 6u),
            subgroupBroadcast(x1[1], 6u),
            subgroupBroadcast(x1[2], 6u),
            subgroupBroadcast(x1[3], 6u),
        );
        c17 += y * mat4x4<f32>(
            subgroupBroadcast(x1[0], 7u),
            subgroupBroadcast(x1[1], 7u),
            subgroupBroadcast(x1[2], 7u),
            subgroupBroadcast(x1[3], 7u),
        );
    }
    let top = tile / tiles_n * 64u;
    store_block(batch, top, column, c00);
    store_block(batch, top + 4u, column, c01);
    store_block(batch, top + 8u, column, c02);
    store_block(batch, top + 12u, column, c03);
    store_block(batch, top + 16u, column, c04);
    store_block(batch, top + 20u, column, c05);
    store_block(batch, top + 24u, column, c06);
    store_block(batch, top + 28u, column, c07);
    store_block(batch, top + 32u, column, c10);
    store_block(batch, top + 36u, column, c11);
    store_block(batch, top + 40u, column, c12);
    store_block(batch, top + 44u, column, c13);
    store_block(batch, top + 48u, column, c14);
    store_block(batch, top + 52u, column, c15);
    store_block(batch, top + 56u, column, c16);
    store_block(batch, top + 60u, column, c17);
}
