// A workgroup of 16×16 invocations owns a 128×128 tile of C, each of them four 4×4 blocks in registers, and slices of A
// and B 8 deep pass through workgroup memory.
const TILE: u32 = 128u;
const DEPTH: u32 = 8u;
const VEC4S: u32 = 32u; // TILE / 4
const STRIDE: u32 = 33u; // VEC4S + 1: neighboring k fall into different banks
const SLICE: u32 = 264u; // DEPTH · STRIDE

var<workgroup> slice_a: array<vec4<f32>, SLICE>; // [DEPTH, STRIDE] of 4 rows
var<workgroup> slice_b: array<vec4<f32>, SLICE>; // [DEPTH, STRIDE] of 4 columns

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

    // Neighboring invocations read along the dimension that is contiguous in memory.
    let along_k = vec2<u32>(thread % DEPTH, thread / DEPTH);
    let across_k = vec2<u32>(thread / VEC4S, thread % VEC4S);
    let from_a = select(along_k, across_k, TRANSPOSE_A);
    let from_b = select(across_k, along_k, TRANSPOSE_B);
    let to_a = from_a.x * STRIDE + from_a.y;
    let to_b = from_b.x * STRIDE + from_b.y;
    let y = thread / 16u;
    let x = thread % 16u;

    var c00 = mat4x4<f32>();
    var c01 = mat4x4<f32>();
    var c10 = mat4x4<f32>();
    var c11 = mat4x4<f32>();
    for (var k = 0u; k < tile.k; k += DEPTH) {
        slice_a[to_a] = vec4_a(base_a, top + 4u * from_a.y, k + from_a.x);
        slice_b[to_b] = load_b(base_b, left + 4u * from_b.y, k + from_b.x);
        workgroupBarrier();
        for (var depth = 0u; depth < DEPTH; depth++) {
            let row = depth * STRIDE;
            let a0 = slice_a[row + y];
            let a1 = slice_a[row + 16u + y];
            let b0 = slice_b[row + x];
            let b1 = slice_b[row + 16u + x];
            c00 += mat4x4<f32>(a0.x * b0, a0.y * b0, a0.z * b0, a0.w * b0);
            c01 += mat4x4<f32>(a0.x * b1, a0.y * b1, a0.z * b1, a0.w * b1);
            c10 += mat4x4<f32>(a1.x * b0, a1.y * b0, a1.z * b0, a1.w * b0);
            c11 += mat4x4<f32>(a1.x * b1, a1.y * b1, a1.z * b1, a1.w * b1);
        }
        workgroupBarrier();
    }
    store_block(batch, top + 4u * y, left + 4u * x, c00);
    store_block(batch, top + 4u * y, left + 64u + 4u * x, c01);
    store_block(batch, top + 64u + 4u * y, left + 4u * x, c10);
    store_block(batch, top + 64u + 4u * y, left + 64u + 4u * x, c11);
}
