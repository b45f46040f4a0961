// Matrix product for adapters with subgroups of exactly 8; one subgroup owns a 32×32 tile of C in
// registers: each lane loads 4×4 blocks of A and B, and broadcasts those of A to the others.
//   C = scale · dropout(f(alpha · op(A)·op(B) + bias)) + addend, f an activation or nothing
// A software driver loads for one invocation after the other, number by number, so that loads of 64 bits take half
// the instructions of those of 32.
// A, B, bias and C are read and written four at a time: the innermost dimension of each, and the batch
// strides, are multiples of 4.
// Grid: batch·⌈m/32⌉·⌈n/32⌉ workgroups, folded over x and y.
#import shared/grid
#import shared/activation
#import shared/rng
#import shared/dropout
#import shared/matmul_params
#import shared/matmul_epilogue
#import shared/matmul_tile
#import shared/matmul_block_vec4
#import shared/matmul_store_vec4
#import shared/matmul_subgroup

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<vec2<u64>>;       // [batch, m, k], TRANSPOSE_A: [batch, k, m], two elements each
@group(0) @binding(2) var<storage, read> b: array<vec2<u64>>;       // [batch, k, n], TRANSPOSE_B: [batch, n, k], two elements each
@group(0) @binding(3) var<storage, read> bias: array<vec4<f32>>;    // [n]; read with HAS_BIAS only
@group(0) @binding(4) var<storage, read> rng: array<u32>;           // [3]: seed, optimizer step, micro-batch; read with DROPOUT only
@group(0) @binding(5) var<storage, read> addend: array<vec4<f32>>;  // [batch, m, n]; read with BOUND_ADDEND only
@group(0) @binding(6) var<storage, read_write> c: array<vec4<f32>>; // [batch, m, n]

// The first element of a pair has the low bits.
fn pairs(x: vec2<u64>) -> vec4<f32> {
    return bitcast<vec4<f32>>(vec4<u32>(u32(x.x), u32(x.x >> 32u), u32(x.y), u32(x.y >> 32u)));
}

fn load_a(i: u32) -> vec4<f32> {
    return taken(pairs(a[i]));
}

fn load_b(i: u32) -> vec4<f32> {
    return taken(pairs(b[i]));
}
