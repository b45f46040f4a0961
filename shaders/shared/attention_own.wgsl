// Every invocation reads what it multiplies with itself; neighbors read the same, which caches answer.
override WIDTH: u32 = 32u;

// Waits until all have kept their weights, which others read.
fn meet() {
    workgroupBarrier();
}

// Sixteen rows, four columns.
fn sixteen_rows(lane: u32, kind: u32, row: u32, quad: u32) -> Block {
    return Block(
        four_rows(kind, row, quad),
        four_rows(kind, row + 4u, quad),
        four_rows(kind, row + 8u, quad),
        four_rows(kind, row + 12u, quad),
    );
}

// Four rows, sixteen columns.
fn four_quads(lane: u32, kind: u32, row: u32, quad: u32) -> Block {
    return Block(
        four_rows(kind, row, quad),
        four_rows(kind, row, quad + 1u),
        four_rows(kind, row, quad + 2u),
        four_rows(kind, row, quad + 3u),
    );
}
