// 4×4 blocks of op(A) and op(B) where the innermost dimension of each is a multiple of 4. Indices
// past an edge are clamped to it, and what lies past the end of k is zero, so that it adds nothing.
// Four elements of A and B at a time come from the importer's `load_a` and `load_b`.

const FOUR: vec4<u32> = vec4<u32>(0u, 1u, 2u, 3u);

// Where rows row … row + 3 of op(A) start, in vec4s; the first alone counts where A is stored [k, m].
fn rows_of_a(batch: u32, row: u32) -> vec4<u32> {
    let base = batch * params.batch_stride_a / 4u;
    if TRANSPOSE_A {
        return vec4<u32>(base + min(row, params.m - 4u) / 4u);
    }
    return base + min(row + FOUR, vec4<u32>(params.m - 1u)) * (params.k / 4u);
}

// Where columns column … column + 3 of op(B) start, in vec4s; the first alone counts where B is stored [k, n].
fn columns_of_b(batch: u32, column: u32) -> vec4<u32> {
    let base = batch * params.batch_stride_b / 4u;
    if TRANSPOSE_B {
        return base + min(column + FOUR, vec4<u32>(params.n - 1u)) * (params.k / 4u);
    }
    return vec4<u32>(base + min(column, params.n - 4u) / 4u);
}

// Column i holds row i of those that start at `rows`, from k on.
fn block_a(rows: vec4<u32>, k: u32) -> mat4x4<f32> {
    if TRANSPOSE_A {
        let at = rows + min(k + FOUR, vec4<u32>(inner - 1u)) * (params.m / 4u);
        let x = mat4x4<f32>(load_a(at.x), load_a(at.y), load_a(at.z), load_a(at.w));
        let left = inner - k;
        return transpose(mat4x4<f32>(
            x[0],
            select(vec4<f32>(), x[1], left > 1u),
            select(vec4<f32>(), x[2], left > 2u),
            select(vec4<f32>(), x[3], left > 3u),
        ));
    }
    let at = rows + k / 4u;
    return mat4x4<f32>(load_a(at.x), load_a(at.y), load_a(at.z), load_a(at.w));
}

// Column i holds row k + i of op(B), of the columns that start at `columns`. Rows past the end of k may be any:
// the same columns of op(A) are zero, or k is a multiple of 4.
fn block_b(columns: vec4<u32>, k: u32) -> mat4x4<f32> {
    if TRANSPOSE_B {
        let at = columns + k / 4u;
        return transpose(mat4x4<f32>(load_b(at.x), load_b(at.y), load_b(at.z), load_b(at.w)));
    }
    let at = columns + min(k + FOUR, vec4<u32>(inner - 1u)) * (params.n / 4u);
    return mat4x4<f32>(load_b(at.x), load_b(at.y), load_b(at.z), load_b(at.w));
}
