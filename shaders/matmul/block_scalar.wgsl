// 4×4 blocks of op(A), op(B) and C for any sizes, element by element. Indices past an edge are
// clamped to it, and what lies past the end of k is zero, so that it adds nothing.

fn load_a(base: u32, row: u32, k: u32) -> vec4<f32> {
    let row_stride = select(params.k, 1u, TRANSPOSE_A);
    let k_stride = select(1u, params.m, TRANSPOSE_A);
    let first = base + min(row, params.m - 1u) * row_stride;
    let last = inner - 1u;
    let x = vec4<f32>(
        a[first + min(k, last) * k_stride],
        a[first + min(k + 1u, last) * k_stride],
        a[first + min(k + 2u, last) * k_stride],
        a[first + min(k + 3u, last) * k_stride],
    );
    return select(vec4<f32>(), taken(x), vec4<u32>(k, k + 1u, k + 2u, k + 3u) < vec4<u32>(inner));
}

// Four rows of op(A) at one k.
fn vec4_a(base: u32, row: u32, k: u32) -> vec4<f32> {
    let row_stride = select(params.k, 1u, TRANSPOSE_A);
    let k_stride = select(1u, params.m, TRANSPOSE_A);
    let first = base + min(k, inner - 1u) * k_stride;
    let last = params.m - 1u;
    let x = vec4<f32>(
        a[first + min(row, last) * row_stride],
        a[first + min(row + 1u, last) * row_stride],
        a[first + min(row + 2u, last) * row_stride],
        a[first + min(row + 3u, last) * row_stride],
    );
    return select(vec4<f32>(), taken(x), k < inner);
}

fn load_b(base: u32, column: u32, k: u32) -> vec4<f32> {
    let column_stride = select(1u, params.k, TRANSPOSE_B);
    let k_stride = select(params.n, 1u, TRANSPOSE_B);
    let first = base + min(k, inner - 1u) * k_stride;
    let last = params.n - 1u;
    let x = vec4<f32>(
        b[first + min(column, last) * column_stride],
        b[first + min(column + 1u, last) * column_stride],
        b[first + min(column + 2u, last) * column_stride],
        b[first + min(column + 3u, last) * column_stride],
    );
    return select(vec4<f32>(), taken(x), k < inner);
}

// The matmul that rows row … row + 3 of op(A) belong to, and the first of them.
fn rows_of_a(batch: u32, row: u32) -> vec2<u32> {
    return vec2<u32>(batch * params.batch_stride_a, row);
}

// The matmul that columns column … column + 3 of op(B) belong to, and the first of them.
fn columns_of_b(batch: u32, column: u32) -> vec2<u32> {
    return vec2<u32>(batch * params.batch_stride_b, column);
}

// Column i holds row i of those at `rows`, from k on.
fn block_a(rows: vec2<u32>, k: u32) -> mat4x4<f32> {
    return mat4x4<f32>(
        load_a(rows.x, rows.y, k),
        load_a(rows.x, rows.y + 1u, k),
        load_a(rows.x, rows.y + 2u, k),
        load_a(rows.x, rows.y + 3u, k),
    );
}

// Column i holds row k + i of op(B), of the columns at `columns`.
fn block_b(columns: vec2<u32>, k: u32) -> mat4x4<f32> {
    return mat4x4<f32>(
        load_b(columns.x, columns.y, k),
        load_b(columns.x, columns.y, k + 1u),
        load_b(columns.x, columns.y, k + 2u),
        load_b(columns.x, columns.y, k + 3u),
    );
}

fn kept_one(i: u32) -> bool {
    return kept(params.first + i / 4u, dropout_key, params.threshold)[i % 4u];
}

// Which of the elements i … i + 3 of C dropout keeps.
fn kept_from(i: u32) -> vec4<bool> {
    if i % 4u == 0u {
        return kept(params.first + i / 4u, dropout_key, params.threshold);
    }
    return vec4<bool>(kept_one(i), kept_one(i + 1u), kept_one(i + 2u), kept_one(i + 3u));
}

fn other_at(i: u32) -> vec4<f32> {
    if params.place == BOUND_OTHER {
        return vec4<f32>(other[i]);
    }
    return vec4<f32>(c[i]);
}

fn store(row: u32, column: u32, first: u32, value: f32) {
    if row < params.m && column < params.n {
        let at = first + column;
        c[at] = with_other(vec4<f32>(value), at).x;
    }
}

fn store_row(batch: u32, row: u32, column: u32, value: vec4<f32>) {
    let first = batch * params.batch_stride_c + row * params.n;
    var y = params.alpha * value;
    if params.has_bias != 0u {
        let last = params.n - 1u;
        y += vec4<f32>(
            bias[min(column, last)],
            bias[min(column + 1u, last)],
            bias[min(column + 2u, last)],
            bias[min(column + 3u, last)],
        );
    }
    var is_kept = vec4<bool>(true);
    if DROPOUT {
        is_kept = kept_from(first + column);
    }
    if is_masked() {
        let frame = params.first_row + batch * params.m + min(row, params.m - 1u);
        is_kept = select(vec4<bool>(), is_kept, is_in_utterance(frame));
    }
    y = finished(y, is_kept);
    store(row, column, first, y.x);
    store(row, column + 1u, first, y.y);
    store(row, column + 2u, first, y.z);
    store(row, column + 3u, first, y.w);
}

// Column i holds row + i of C.
fn store_block(batch: u32, row: u32, column: u32, value: mat4x4<f32>) {
    store_row(batch, row, column, value[0]);
    store_row(batch, row + 1u, column, value[1]);
    store_row(batch, row + 2u, column, value[2]);
    store_row(batch, row + 3u, column, value[3]);
}
