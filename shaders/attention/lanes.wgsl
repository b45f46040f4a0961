// How the lanes of a workgroup share what they read.
#if subgroup
// For adapters with subgroups of exactly 8, where the workgroup is one: all lanes multiply with the same block,
// so each reads an eighth of it and broadcasts that to the others.
const WORKGROUP_SIZE: u32 = 8u;

// Lane i has the units i, i + 8 …, so it reads the weights that it has kept itself.
fn meet() {}

// The block of which lane `i` holds two rows of matrix `i % 4`: the first two or, from lane 4 on, the last.
fn spread(x: vec4<f32>, y: vec4<f32>) -> Block {
    return Block(
        mat4x4<f32>(
            subgroupBroadcast(x, 0u), subgroupBroadcast(y, 0u),
            subgroupBroadcast(x, 4u), subgroupBroadcast(y, 4u),
        ),
        mat4x4<f32>(
            subgroupBroadcast(x, 1u), subgroupBroadcast(y, 1u),
            subgroupBroadcast(x, 5u), subgroupBroadcast(y, 5u),
        ),
        mat4x4<f32>(
            subgroupBroadcast(x, 2u), subgroupBroadcast(y, 2u),
            subgroupBroadcast(x, 6u), subgroupBroadcast(y, 6u),
        ),
        mat4x4<f32>(
            subgroupBroadcast(x, 3u), subgroupBroadcast(y, 3u),
            subgroupBroadcast(x, 7u), subgroupBroadcast(y, 7u),
        ),
    );
}

// Sixteen rows, four columns.
fn sixteen_rows(lane: u32, kind: u32, row: u32, column4: u32) -> Block {
    let own = row + 4u * (lane % 4u) + 2u * (lane / 4u);
    return spread(operand(kind, own, column4), operand(kind, own + 1u, column4));
}

// Four rows, sixteen columns.
fn sixteen_columns(lane: u32, kind: u32, row: u32, column4: u32) -> Block {
    let own = row + 2u * (lane / 4u);
    return spread(operand(kind, own, column4 + lane % 4u), operand(kind, own + 1u, column4 + lane % 4u));
}
#else
// Every invocation reads what it multiplies with itself; neighbors read the same, which caches answer.
override WORKGROUP_SIZE: u32 = 32u;

// Waits until all have kept their weights, which others read.
fn meet() {
    workgroupBarrier();
}

// Sixteen rows, four columns.
fn sixteen_rows(lane: u32, kind: u32, row: u32, column4: u32) -> Block {
    return Block(
        four_rows(kind, row, column4),
        four_rows(kind, row + 4u, column4),
        four_rows(kind, row + 8u, column4),
        four_rows(kind, row + 12u, column4),
    );
}

// Four rows, sixteen columns.
fn sixteen_columns(lane: u32, kind: u32, row: u32, column4: u32) -> Block {
    return Block(
        four_rows(kind, row, column4),
        four_rows(kind, row, column4 + 1u),
        four_rows(kind, row, column4 + 2u),
        four_rows(kind, row, column4 + 3u),
    );
}
#endif
