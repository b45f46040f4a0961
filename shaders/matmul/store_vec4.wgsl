// Rows and 4×4 blocks of C where its innermost dimension is a multiple of 4; what lies past an edge is left out.
#import matmul/vec4_index

fn other_at(i: u32) -> vec4<f32> {
    if params.place == BOUND_OTHER {
        return other[i];
    }
    return c[i];
}

fn store_row(batch: u32, row: u32, column: u32, value: vec4<f32>) {
    if row < params.m && column < params.n {
        var y = params.alpha * value;
        if params.has_bias != 0u {
            y += bias[column / 4u];
        }
        let at = vec4_index(batch * params.batch_stride_c, row, column, params.n);
        var is_kept = vec4<bool>(true);
        if DROPOUT {
            is_kept = kept(params.first + at, dropout_key, params.threshold);
        }
        if is_masked() {
            is_kept = select(vec4<bool>(), is_kept, is_in_utterance(params.first_row + batch * params.m + row));
        }
        c[at] = with_other(finished(y, is_kept), at);
    }
}
