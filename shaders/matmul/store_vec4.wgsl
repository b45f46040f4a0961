// Rows and 4×4 blocks of C where its innermost dimension is a multiple of 4; what lies past an edge is left out.

// Where four elements of a row of `width` begin.
fn at_quad(base: u32, row: u32, column: u32, width: u32) -> u32 {
    return (base + row * width + column) / 4u;
}

fn store_row(batch: u32, row: u32, column: u32, value: vec4<f32>) {
    if row < params.m && column < params.n {
        var y = params.alpha * value;
        if HAS_BIAS {
            y += bias[column / 4u];
        }
        let at = at_quad(batch * params.batch_stride_c, row, column, params.n);
        var is_kept = vec4<bool>();
        if DROPOUT {
            is_kept = kept(params.first + at, dropout_key, params.threshold);
        }
        y = finished(y, is_kept);
        if ADDEND == BOUND_ADDEND {
            y += addend[at];
        } else if ADDEND == ADDEND_IN_C {
            y += c[at];
        }
        c[at] = y;
    }
}

// Column i holds row + i of C.
fn store_block(batch: u32, row: u32, column: u32, value: mat4x4<f32>) {
    store_row(batch, row, column, value[0]);
    store_row(batch, row + 1u, column, value[1]);
    store_row(batch, row + 2u, column, value[2]);
    store_row(batch, row + 3u, column, value[3]);
}
