// 4×4 blocks of op(A), op(B) and C where the innermost dimension of each is a multiple of 4. Indices
// past an edge are clamped to it, and what lies past the end of k is zero, so that it adds nothing.

fn row_of_a(base: u32, row: u32) -> vec4<f32> {
    return a[base + min(row, params.m - 1u) * (params.k / 4u)];
}

fn row_of_a_transposed(base: u32, k: u32) -> vec4<f32> {
    let x = a[base + min(k, params.k - 1u) * (params.m / 4u)];
    return select(vec4<f32>(), x, k < params.k);
}

fn row_of_b(base: u32, k: u32) -> vec4<f32> {
    let x = b[base + min(k, params.k - 1u) * (params.n / 4u)];
    return select(vec4<f32>(), x, k < params.k);
}

fn row_of_b_transposed(base: u32, column: u32) -> vec4<f32> {
    return b[base + min(column, params.n - 1u) * (params.k / 4u)];
}

// Column i holds row + i of op(A) from k on.
fn block_a(batch: u32, row: u32, k: u32) -> mat4x4<f32> {
    let base = batch * params.batch_stride_a / 4u;
    if TRANSPOSE_A {
        let first = base + min(row, params.m - 4u) / 4u;
        return transpose(mat4x4<f32>(
            row_of_a_transposed(first, k),
            row_of_a_transposed(first, k + 1u),
            row_of_a_transposed(first, k + 2u),
            row_of_a_transposed(first, k + 3u),
        ));
    }
    let first = base + k / 4u;
    return mat4x4<f32>(
        row_of_a(first, row),
        row_of_a(first, row + 1u),
        row_of_a(first, row + 2u),
        row_of_a(first, row + 3u),
    );
}

// Column i holds row k + i of op(B) from the given column on.
fn block_b(batch: u32, column: u32, k: u32) -> mat4x4<f32> {
    let base = batch * params.batch_stride_b / 4u;
    if TRANSPOSE_B {
        let first = base + k / 4u;
        return transpose(mat4x4<f32>(
            row_of_b_transposed(first, column),
            row_of_b_transposed(first, column + 1u),
            row_of_b_transposed(first, column + 2u),
            row_of_b_transposed(first, column + 3u),
        ));
    }
    let first = base + min(column, params.n - 4u) / 4u;
    return mat4x4<f32>(
        row_of_b(first, k),
        row_of_b(first, k + 1u),
        row_of_b(first, k + 2u),
        row_of_b(first, k + 3u),
    );
}

fn store_row(batch: u32, row: u32, column: u32, value: vec4<f32>) {
    if row < params.m && column < params.n {
        var y = params.alpha * value;
        if HAS_BIAS {
            y += bias[column / 4u];
        }
        c[(batch * params.batch_stride_c + row * params.n + column) / 4u] = y;
    }
}

// Column i holds row + i of C.
fn store_block(batch: u32, row: u32, column: u32, value: mat4x4<f32>) {
    store_row(batch, row, column, value[0]);
    store_row(batch, row + 1u, column, value[1]);
    store_row(batch, row + 2u, column, value[2]);
    store_row(batch, row + 3u, column, value[3]);
}
