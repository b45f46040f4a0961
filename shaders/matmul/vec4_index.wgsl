// Rows and 4×4 blocks of matrices whose innermost dimension is a multiple of 4; the importer has `store_row`.

// Where four elements of a row of `width` begin.
fn vec4_index(base: u32, row: u32, column: u32, width: u32) -> u32 {
    return (base + row * width + column) / 4u;
}

// Column i holds row + i of C.
fn store_block(batch: u32, row: u32, column: u32, value: mat4x4<f32>) {
    store_row(batch, row, column, value[0]);
    store_row(batch, row + 1u, column, value[1]);
    store_row(batch, row + 2u, column, value[2]);
    store_row(batch, row + 3u, column, value[3]);
}
