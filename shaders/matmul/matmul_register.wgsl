// Matrix product for CPU adapters, any sizes; one invocation owns a 16×16 tile of C in registers.
//   C = scale · dropout(f(alpha · op(A)·op(B) + bias)) + addend, f an activation or nothing
// Grid: ⌈batch·⌈m/16⌉·⌈n/16⌉ / WIDTH⌉ workgroups, folded over x and y.
#import shared/grid
#import shared/activation
#import shared/rng
#import shared/dropout
#import shared/matmul_params
#import shared/matmul_epilogue
#import shared/matmul_tile
#import shared/matmul_block
#import shared/matmul_register

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<f32>;       // [batch, m, k], TRANSPOSE_A: [batch, k, m]
@group(0) @binding(2) var<storage, read> b: array<f32>;       // [batch, k, n], TRANSPOSE_B: [batch, n, k]
@group(0) @binding(3) var<storage, read> bias: array<f32>;    // [n]; read with HAS_BIAS only
@group(0) @binding(4) var<storage, read> rng: array<u32>;     // [3]: seed, optimizer step, micro-batch; read with DROPOUT only
@group(0) @binding(5) var<storage, read> addend: array<f32>;  // [batch, m, n]; read with BOUND_ADDEND only
@group(0) @binding(6) var<storage, read_write> c: array<f32>; // [batch, m, n]
