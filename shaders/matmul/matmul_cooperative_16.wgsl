// Matrix product for adapters with cooperative matrices of 16×16 halves and sums of f32; operands are rounded to
// halves, and the innermost dimensions of A, B and C are multiples of 4.
//   C = scale · dropout(f(alpha · op(A)·op(B) + bias)) + addend, f an activation or nothing
// Grid: batch·⌈m/128⌉·⌈n/128⌉ workgroups, folded over x and y.
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

const SIZE: u32 = 16u;
alias Left = coop_mat16x16<f16, A>;
alias Right = coop_mat16x16<f16, B>;
alias Sum = coop_mat16x16<f32, C>;

// A slice of each operand, four to an element.
var<workgroup> slice_a: array<vec4<f16>, SLICE>;
var<workgroup> slice_b: array<vec4<f16>, SLICE>;

fn put_a(at: u32, x: vec4<f16>) {
    slice_a[at] = x;
}

fn put_b(at: u32, x: vec4<f16>) {
    slice_b[at] = x;
}

fn left_by_rows(at: u32) -> Left {
    return coopLoadT<Left>(&slice_a[at], ALONG_K);
}

fn left_by_columns(at: u32) -> Left {
    return coopLoad<Left>(&slice_a[at], ACROSS_K);
}

fn right_by_rows(at: u32) -> Right {
    return coopLoadT<Right>(&slice_b[at], ACROSS_K);
}

fn right_by_columns(at: u32) -> Right {
    return coopLoad<Right>(&slice_b[at], ALONG_K);
}
