// Gradients of a linear layer's weight and bias, as parts of sums over the rows.
//   c = alpha · Σ_rows dyᵀ·x, and behind it Σ_rows dy;  NORMALIZED: of (x − mean)·rstd ∘ weight + bias in place of x
// dy is A of a matmul, stored [k, m], and x is B. `weight_gradient_sum` adds up the parts.
//! where aligned = n % 4, m % 4
//! variant cooperative_16: needs matrices = 16, F16_INPUTS, aligned; prefers gpu; workgroup 8 subgroups; tile 128
//! variant cooperative_8: needs matrices = 8, F16_INPUTS, aligned; prefers gpu; workgroup 8 subgroups; tile 64
//! variant tiled_large_vec4: needs aligned; prefers gpu, tiles >= 128, accumulators >= 64; workgroup 256; tile 128
#if cooperative
enable f16;
enable wgpu_cooperative_matrix;
#endif
#import shared/grid
#import matmul/params
#import matmul/tile

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<vec4<f32>>;       // [batch, k, m]: dy; in f16 too
@group(0) @binding(2) var<storage, read> b: array<vec4<f32>>;       // [batch, k, n]: x; in f16 too
@group(0) @binding(3) var<storage, read> mean: array<f32>;          // [batch, k]; read with NORMALIZED only, as the following
@group(0) @binding(4) var<storage, read> rstd: array<f32>;          // [batch, k]
@group(0) @binding(5) var<storage, read> weight: array<vec4<f32>>;  // [n]
@group(0) @binding(6) var<storage, read> bias: array<vec4<f32>>;    // [n]
@group(0) @binding(7) var<storage, read_write> c: array<vec4<f32>>; // [batch, m · n + m]

override NORMALIZED: bool = false;

const COLUMN_SUMS: bool = true;

#import matmul/vec4_index

fn begin() {}

fn store_row(batch: u32, row: u32, column: u32, value: vec4<f32>) {
    if row < params.m && column < params.n {
        c[vec4_index(batch * params.batch_stride_c, row, column, params.n)] = params.alpha * value;
    }
}

// The sums of all that an invocation fetches of dy for one tile, which has the same four columns. They are not rounded.
var<private> column_sums: vec4<f32>;

fn note_columns(x: vec4<f32>) {
    column_sums += x;
}

fn store_column_sums(batch: u32, column: u32) {
    if column < params.m {
        c[vec4_index(batch * params.batch_stride_c, params.m, column, params.n)] = column_sums;
    }
}

// Four elements of this row of all of x.
fn normalized(x: vec4<f32>, row: u32, column: u32) -> vec4<f32> {
    if NORMALIZED {
        return (x - mean[row]) * rstd[row] * weight[column / 4u] + bias[column / 4u];
    }
    return x;
}

#if cooperative
#if 16
#import matmul/matrices_16
#else
#import matmul/matrices_8
#endif
#import matmul/cooperative
#else
#import matmul/load
#import matmul/tiled_large_vec4
#endif
