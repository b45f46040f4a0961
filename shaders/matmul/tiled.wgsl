// A workgroup of 16×16 invocations owns a 64×64 tile of C, each of them a 4×4 block in registers, and slices of A and B
// 16 deep pass through workgroup memory.
const TILE: u32 = 64u;
const DEPTH: u32 = 16u;
const VEC4S: u32 = 16u; // TILE / 4
const STRIDE: u32 = 17u; // VEC4S + 1: neighboring k fall into different banks
const SLICE: u32 = 272u; // DEPTH · STRIDE

var<workgroup> slices_a: array<vec4<f32>, SLICE>; // [DEPTH, STRIDE] of 4 rows
var<workgroup> slices_b: array<vec4<f32>, SLICE>; // [DEPTH, STRIDE] of 4 columns

// Fills the slices from k on.
#if vec4
#import matmul/slices_vec4

fn fill(base_a: u32, base_b: u32, top: u32, left: u32, k: u32, thread: u32) {
    put_a(0u, thread, fetch_a(base_a, top, k, thread));
    put_b(0u, thread, fetch_b(base_b, left, k, thread));
}
#else
fn fill(base_a: u32, base_b: u32, top: u32, left: u32, k: u32, thread: u32) {
    // Neighboring invocations read along the dimension that is contiguous in memory.
    let along_k = vec2<u32>(thread % DEPTH, thread / DEPTH);
    let across_k = vec2<u32>(thread / VEC4S, thread % VEC4S);
    let from_a = select(along_k, across_k, TRANSPOSE_A);
    let from_b = select(across_k, along_k, TRANSPOSE_B);
    slices_a[from_a.x * STRIDE + from_a.y] = vec4_a(base_a, top + 4u * from_a.y, k + from_a.x);
    slices_b[from_b.x * STRIDE + from_b.y] = load_b(base_b, left + 4u * from_b.y, k + from_b.x);
}
#endif

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

    let y = thread / 16u;
    let x = thread % 16u;

    var c0 = mat4x4<f32>();
    for (var k = 0u; k < tile.k; k += DEPTH) {
        fill(base_a, base_b, top, left, k, thread);
        workgroupBarrier();
        for (var depth = 0u; depth < DEPTH; depth++) {
            let row = depth * STRIDE;
            let a0 = slices_a[row + y];
            let b0 = slices_b[row + x];
            c0 += mat4x4<f32>(a0.x * b0, a0.y * b0, a0.z * b0, a0.w * b0);
        }
        workgroupBarrier();
    }
    store_block(batch, top + 4u * y, left + 4u * x, c0);
}
