// Matrix product for adapters with subgroups of exactly 8; one subgroup owns a 32×32 tile of C in
// registers: each lane loads 4×4 blocks of A and B, and broadcasts those of A to the others.
//   C = scale · dropout(f(alpha · op(A)·op(B) + bias)) + addend, f an activation or nothing
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
#import shared/matmul_load_vec4
#import shared/matmul_block_vec4
#import shared/matmul_store_vec4
#import shared/matmul_subgroup

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<vec4<f32>>;       // [batch, m, k], TRANSPOSE_A: [batch, k, m]
@group(0) @binding(2) var<storage, read> b: array<vec4<f32>>;       // [batch, k, n], TRANSPOSE_B: [batch, n, k]
@group(0) @binding(3) var<storage, read> bias: array<vec4<f32>>;    // [n]; read with HAS_BIAS only
@group(0) @binding(4) var<storage, read> rng: array<u32>;           // [3]: seed, optimizer step, micro-batch; read with DROPOUT only
@group(0) @binding(5) var<storage, read> addend: array<vec4<f32>>;  // [batch, m, n]; read with BOUND_ADDEND only
@group(0) @binding(6) var<storage, read_write> c: array<vec4<f32>>; // [batch, m, n]
