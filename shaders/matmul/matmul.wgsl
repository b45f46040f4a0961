// Matrix multiplication.
//   C = scale · mask(dropout(f(alpha · op(A)·op(B) + bias))) + other, f an activation or nothing; or times f's derivative at other
// vec4 and u64 read and write four numbers at a time. `register` and `subgroup` are for CPUs, where an invocation or a
// subgroup owns a tile of C in registers; `tiled` for GPUs, where slices of A and B pass through workgroup memory. Of
// `tiled_vec4` there is need where C is in f16.
//! where aligned = n % 4, k % 4 unless TRANSPOSE_A, m % 4 if TRANSPOSE_A, k % 4 if TRANSPOSE_B
//! variant cooperative_16: needs matrices = 16, F16_INPUTS, aligned; prefers gpu; workgroup 8 subgroups; tile 128
//! variant cooperative_8: needs matrices = 8, F16_INPUTS, aligned; prefers gpu; workgroup 8 subgroups; tile 64
//! variant subgroup_u64: needs subgroup = 8, int64, aligned; prefers cpu; workgroup 8; tile 32
//! variant subgroup_vec4: needs subgroup = 8, aligned; prefers cpu; workgroup 8; tile 32
//! variant subgroup: needs subgroup = 8; prefers cpu; workgroup 8; tile 32
//! variant register_vec4: needs aligned; prefers cpu; workgroup row; takes 1 an invocation; tile 8
//! variant register: prefers cpu; workgroup row; takes 1 an invocation; tile 8
//! variant tiled_large_vec4: needs aligned; prefers tiles >= 128, accumulators >= 64; workgroup 256; tile 128
//! variant tiled_large: prefers tiles >= 128, accumulators >= 64; workgroup 256; tile 128
//! variant tiled: workgroup 256; tile 64
//! variant tiled_vec4: needs aligned; workgroup 256; tile 64
#if cooperative
enable f16;
enable wgpu_cooperative_matrix;
#endif
#import shared/grid
#import matmul/params
#import shared/epilogue
#import matmul/tile

// What is read and written at once: of A and B, and of all others.
#if u64
alias Factor = vec2<u64>;
alias Element = vec4<f32>;
#elif vec4 | cooperative
alias Factor = vec4<f32>;
alias Element = vec4<f32>;
#else
alias Factor = f32;
alias Element = f32;
#endif

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<Factor>;        // [batch, m, k], TRANSPOSE_A: [batch, k, m]; in f16 too
@group(0) @binding(2) var<storage, read> b: array<Factor>;        // [batch, k, n], TRANSPOSE_B: [batch, n, k]; in f16 too
@group(0) @binding(3) var<storage, read> bias: array<Element>;    // [n]; read with params.has_bias only
@group(0) @binding(4) var<storage, read> rng: array<u32>;         // [3]: seed, optimizer step, micro-batch; read with DROPOUT only
@group(0) @binding(5) var<storage, read> lengths: array<u32>;     // [utterances]; read with params.time only
@group(0) @binding(6) var<storage, read> other: array<Element>;   // [batch, m, n]; read with BOUND_OTHER only; in f16 too
@group(0) @binding(7) var<storage, read_write> c: array<Element>; // [batch, m, n]; in f16 too

#if vec4 | u64 | cooperative
#import matmul/store_vec4
#endif
#if cooperative
#import matmul/plain
#if 16
#import matmul/matrices_16
#else
#import matmul/matrices_8
#endif
#import matmul/cooperative
#elif large
#if vec4
#import matmul/load
#import matmul/plain
#import matmul/tiled_large_vec4
#else
#import matmul/block_scalar
#import matmul/tiled_large
#endif
#elif tiled
#if vec4
#import matmul/load
#import matmul/plain
#else
#import matmul/block_scalar
#endif
#import matmul/tiled
#else
#if vec4 | u64
#import matmul/load
#import matmul/block_vec4
#else
#import matmul/block_scalar
#endif
#if subgroup
#import matmul/subgroup
#else
#import matmul/register
#endif
#endif
