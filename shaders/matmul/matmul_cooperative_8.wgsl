// Matrix product for adapters with cooperative matrices of 8×8 halves and sums of f32; operands are rounded to
// halves, and the innermost dimensions of A, B and C are multiples of 4.
//   C = scale · dropout(f(alpha · op(A)·op(B) + bias)) + addend, f an activation or nothing
// Grid: batch·⌈m/64⌉·⌈n/64⌉ workgroups, folded over x and y.
enable f16;
enable wgpu_cooperative_matrix;
#import shared/grid
#import shared/activation
#import shared/rng
#import shared/dropout
#import shared/matmul_params
#import shared/matmul_epilogue
#import shared/matmul_tile
#import shared/matmul_store_vec4
#import shared/matmul_cooperative

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<vec4<f32>>;       // [batch, m, k / 4], TRANSPOSE_A: [batch, k, m / 4]
@group(0) @binding(2) var<storage, read> b: array<vec4<f32>>;       // [batch, k, n / 4], TRANSPOSE_B: [batch, n, k / 4]
@group(0) @binding(3) var<storage, read> bias: array<vec4<f32>>;    // [n / 4]; read with HAS_BIAS only
@group(0) @binding(4) var<storage, read> rng: array<u32>;           // [3]: seed, optimizer step, micro-batch; read with DROPOUT only
@group(0) @binding(5) var<storage, read> addend: array<vec4<f32>>;  // [batch, m, n / 4]; read with BOUND_ADDEND only
@group(0) @binding(6) var<storage, read_write> c: array<vec4<f32>>; // [batch, m, n / 4]

const SIZE: u32 = 8u;
alias Left = coop_mat8x8<f16, A>;
alias Right = coop_mat8x8<f16, B>;
alias Sum = coop_mat8x8<f32, C>;
const HALVES_OF_SLICE: u32 = 4u * SLICE;

// A slice of each operand, as scalars, the pointers that Metal loads matrices by.
var<workgroup> slice_a: array<f16, HALVES_OF_SLICE>;
var<workgroup> slice_b: array<f16, HALVES_OF_SLICE>;

fn put_a(at: u32, x: vec4<f16>) {
    slice_a[4u * at] = x.x;
    slice_a[4u * at + 1u] = x.y;
    slice_a[4u * at + 2u] = x.z;
    slice_a[4u * at + 3u] = x.w;
}

fn put_b(at: u32, x: vec4<f16>) {
    slice_b[4u * at] = x.x;
    slice_b[4u * at + 1u] = x.y;
    slice_b[4u * at + 2u] = x.z;
    slice_b[4u * at + 3u] = x.w;
}

fn left_by_rows(at: u32) -> Left {
    return coopLoadT<Left>(&slice_a[4u * at], 4u * ALONG_K);
}

fn left_by_columns(at: u32) -> Left {
    return coopLoad<Left>(&slice_a[4u * at], 4u * ACROSS_K);
}

fn right_by_rows(at: u32) -> Right {
    return coopLoadT<Right>(&slice_b[4u * at], 4u * ACROSS_K);
}

fn right_by_columns(at: u32) -> Right {
    return coopLoad<Right>(&slice_b[4u * at], 4u * ALONG_K);
}
