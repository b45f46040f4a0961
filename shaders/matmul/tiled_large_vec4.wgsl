// A workgroup of 256 invocations owns a 128×128 tile of C, each of them four 4×4 blocks in registers. Slices of A and B 8
// deep pass through workgroup memory, two of each: while one is multiplied, the next is on its way from the device's memory.
const TILE: u32 = 128u;
const DEPTH: u32 = 8u;
const VEC4S: u32 = 32u; // TILE / 4
const STRIDE: u32 = VEC4S;
const SLICE: u32 = 256u; // DEPTH · VEC4S
const SLICES: u32 = 512u; // 2 · SLICE

var<workgroup> slices_a: array<vec4<f32>, SLICES>; // [2, DEPTH, VEC4S] of 4 rows
var<workgroup> slices_b: array<vec4<f32>, SLICES>; // [2, DEPTH, VEC4S] of 4 columns

#import matmul/slices_vec4

// The four blocks of an invocation.
struct Blocks {
    c00: mat4x4<f32>,
    c01: mat4x4<f32>,
    c10: mat4x4<f32>,
    c11: mat4x4<f32>,
}

// sum + x·yᵀ, a column a row of C.
fn outer(sum: mat4x4<f32>, x: vec4<f32>, y: vec4<f32>) -> mat4x4<f32> {
    return mat4x4<f32>(
        fma(vec4<f32>(x.x), y, sum[0]),
        fma(vec4<f32>(x.y), y, sum[1]),
        fma(vec4<f32>(x.z), y, sum[2]),
        fma(vec4<f32>(x.w), y, sum[3]),
    );
}

// Adds the outer product of one k, whose rows of the slices begin at `row`.
fn advance(sum: Blocks, row: u32, y: u32, x: u32) -> Blocks {
    let a0 = slices_a[row + y];
    let a1 = slices_a[row + 16u + y];
    let b0 = slices_b[row + x];
    let b1 = slices_b[row + 16u + x];
    return Blocks(outer(sum.c00, a0, b0), outer(sum.c01, a0, b1), outer(sum.c10, a1, b0), outer(sum.c11, a1, b1));
}

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    begin();
    let i = linear_group(group, groups);
    if i >= tiles(TILE) {
        return;
    }
    let tile = tile_at(i, TILE);
    inner = tile.k;
    let batch = tile.batch;
    let top = tile.row;
    let left = tile.column;
    let base_a = batch * params.batch_stride_a;
    let base_b = batch * params.batch_stride_b;
    // 32 neighbors own 4 by 8 blocks, so that they read few different ones.
    let y = thread / 64u * 4u + thread % 32u / 8u;
    let x = thread / 32u % 2u * 8u + thread % 8u;

    put_a(0u, thread, fetch_a(base_a, top, 0u, thread));
    put_b(0u, thread, fetch_b(base_b, left, 0u, thread));
    workgroupBarrier();
    var sum = Blocks();
    var slice = 0u;
    for (var k = DEPTH; ; k += DEPTH) {
        let more = k < tile.k;
        var next_a = vec4<f32>();
        var next_b = vec4<f32>();
        if more {
            next_a = fetch_a(base_a, top, k, thread);
            next_b = fetch_b(base_b, left, k, thread);
        }
        sum = advance(sum, slice, y, x);
        sum = advance(sum, slice + VEC4S, y, x);
        sum = advance(sum, slice + 2u * VEC4S, y, x);
        sum = advance(sum, slice + 3u * VEC4S, y, x);
        sum = advance(sum, slice + 4u * VEC4S, y, x);
        sum = advance(sum, slice + 5u * VEC4S, y, x);
        sum = advance(sum, slice + 6u * VEC4S, y, x);
        sum = advance(sum, slice + 7u * VEC4S, y, x);
        if !more {
            break;
        }
        slice = SLICE - slice;
        put_a(slice, thread, next_a);
        put_b(slice, thread, next_b);
        workgroupBarrier();
    }
    store_block(batch, top + 4u * y, left + 4u * x, sum.c00);
    store_block(batch, top + 4u * y, left + 64u + 4u * x, sum.c01);
    store_block(batch, top + 64u + 4u * y, left + 4u * x, sum.c10);
    store_block(batch, top + 64u + 4u * y, left + 64u + 4u * x, sum.c11);
    if COLUMN_SUMS && left == 0u {
        workgroupBarrier();
        slices_a[thread] = column_sums;
        workgroupBarrier();
        if thread >= VEC4S {
            return;
        }
        for (var k = 1u; k < DEPTH; k++) {
            note_columns(slices_a[k * VEC4S + thread]);
        }
        store_column_sums(batch, top + 4u * thread);
    }
}
