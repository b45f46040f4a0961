// A matmul by cooperative matrices of SIZE×SIZE. 8 subgroups own a tile of 8·SIZE×8·SIZE, each of them 2 by 4
// matrices of it. Slices of A and B 2·SIZE deep are rounded to f16 on their way through workgroup memory: while one
// is multiplied, the next is on its way from the device's memory to registers. There they lie as in the device's memory,
// whatever is innermost, for a cooperative matrix can be loaded by rows and by columns. Two slices in turns would save a
// barrier, but leave room for fewer workgroups beside each other: 115 against 190 TFLOP/s on an H100.
// The importer has SIZE, the types Left, Right and Sum, the slice's memory, and loads and stores it.
override WORKGROUP_SIZE: u32 = 256u; // 8 subgroups

const TILE: u32 = 8u * SIZE;
const DEPTH: u32 = 2u * SIZE;
const VEC4S: u32 = TILE * DEPTH / 4u; // of four elements in a slice
// From row to row of a slice, in vec4s: two more than its elements, so that neighboring rows fall into different banks.
const ALONG_K: u32 = DEPTH / 4u + 2u;
const ACROSS_K: u32 = TILE / 4u + 2u;
const SLICE: u32 = TILE * ALONG_K; // more than DEPTH · ACROSS_K
const BLOCK: u32 = SIZE * SIZE;
const BLOCKS: u32 = 8u * BLOCK;

var<workgroup> blocks: array<f32, BLOCKS>; // one of C for each subgroup, on its way to memory

// Row and column of the first of four elements in a slice of rows of `width` elements.
fn place(i: u32, width: u32) -> vec2<u32> {
    let vec4s = width / 4u;
    return vec2<u32>(i / vec4s, 4u * (i % vec4s));
}

fn fetch_a(base: u32, top: u32, k: u32, i: u32) -> vec4<f16> {
    if i >= VEC4S {
        return vec4<f16>();
    }
    if TRANSPOSE_A {
        let own = place(i, TILE);
        let at = vec4_index(base, min(k + own.x, inner - 1u), min(top + own.y, params.m - 4u), params.m);
        let x = select(vec4<f32>(), a[at], k + own.x < inner);
        note_columns(x);
        return vec4<f16>(x);
    }
    let own = place(i, DEPTH);
    let at = vec4_index(base, min(top + own.x, params.m - 1u), min(k + own.y, params.k - 4u), params.k);
    return vec4<f16>(select(vec4<f32>(), a[at], k + own.y < inner));
}

fn fetch_b(base: u32, left: u32, k: u32, i: u32) -> vec4<f16> {
    if i >= VEC4S {
        return vec4<f16>();
    }
    if TRANSPOSE_B {
        let own = place(i, DEPTH);
        let at = vec4_index(base, min(left + own.x, params.n - 1u), min(k + own.y, params.k - 4u), params.k);
        return vec4<f16>(select(vec4<f32>(), b[at], k + own.y < inner));
    }
    let own = place(i, TILE);
    let row = min(k + own.x, inner - 1u);
    let column = min(left + own.y, params.n - 4u);
    let x = normalized(b[vec4_index(base, row, column, params.n)], base / params.n + row, column);
    return vec4<f16>(select(vec4<f32>(), x, k + own.x < inner));
}

// The up to four that an invocation fetches of a slice.
fn fetch_all_a(base: u32, top: u32, k: u32, thread: u32) -> mat4x4<f16> {
    return mat4x4<f16>(
        fetch_a(base, top, k, thread),
        fetch_a(base, top, k, thread + WORKGROUP_SIZE),
        fetch_a(base, top, k, thread + 2u * WORKGROUP_SIZE),
        fetch_a(base, top, k, thread + 3u * WORKGROUP_SIZE),
    );
}

fn fetch_all_b(base: u32, left: u32, k: u32, thread: u32) -> mat4x4<f16> {
    return mat4x4<f16>(
        fetch_b(base, left, k, thread),
        fetch_b(base, left, k, thread + WORKGROUP_SIZE),
        fetch_b(base, left, k, thread + 2u * WORKGROUP_SIZE),
        fetch_b(base, left, k, thread + 3u * WORKGROUP_SIZE),
    );
}

// Where four elements lie in their slice, in vec4s.
fn slot(i: u32, across: bool) -> u32 {
    let own = place(i, select(DEPTH, TILE, across));
    return own.x * select(ALONG_K, ACROSS_K, across) + own.y / 4u;
}

fn put_one(i: u32, x: vec4<f16>, y: vec4<f16>) {
    if i < VEC4S {
        put_a(slot(i, TRANSPOSE_A), x);
        put_b(slot(i, !TRANSPOSE_B), y);
    }
}

fn put_all(thread: u32, x: mat4x4<f16>, y: mat4x4<f16>) {
    put_one(thread, x[0], y[0]);
    put_one(thread + WORKGROUP_SIZE, x[1], y[1]);
    put_one(thread + 2u * WORKGROUP_SIZE, x[2], y[2]);
    put_one(thread + 3u * WORKGROUP_SIZE, x[3], y[3]);
}

// The matrix of op(A) at this row and k of the slice.
fn left_matrix(row: u32, k: u32) -> Left {
    if TRANSPOSE_A {
        return left_by_columns(k * ACROSS_K + row / 4u);
    }
    return left_by_rows(row * ALONG_K + k / 4u);
}

// The matrix of op(B) at this k and column of the slice.
fn right_matrix(k: u32, column: u32) -> Right {
    if TRANSPOSE_B {
        return right_by_columns(column * ALONG_K + k / 4u);
    }
    return right_by_rows(k * ACROSS_K + column / 4u);
}

struct Sums {
    c00: Sum,
    c01: Sum,
    c02: Sum,
    c03: Sum,
    c10: Sum,
    c11: Sum,
    c12: Sum,
    c13: Sum,
}

// Adds the products of SIZE of k to the sums of the 2 by 4 matrices at y and x.
fn advance(sums: Sums, k: u32, y: u32, x: u32) -> Sums {
    let a0 = left_matrix(y, k);
    let a1 = left_matrix(y + SIZE, k);
    let b0 = right_matrix(k, x);
    let b1 = right_matrix(k, x + SIZE);
    let b2 = right_matrix(k, x + 2u * SIZE);
    let b3 = right_matrix(k, x + 3u * SIZE);
    return Sums(
        coopMultiplyAdd(a0, b0, sums.c00),
        coopMultiplyAdd(a0, b1, sums.c01),
        coopMultiplyAdd(a0, b2, sums.c02),
        coopMultiplyAdd(a0, b3, sums.c03),
        coopMultiplyAdd(a1, b0, sums.c10),
        coopMultiplyAdd(a1, b1, sums.c11),
        coopMultiplyAdd(a1, b2, sums.c12),
        coopMultiplyAdd(a1, b3, sums.c13),
    );
}

// Which part of a subgroup's block an invocation stores.
struct Part {
    first: u32, // where the block begins
    lane: u32,
    lanes: u32,
    batch: u32,
}

fn store_matrix(part: Part, row: u32, column: u32, sum: Sum) {
    coopStoreT(sum, &blocks[part.first], SIZE);
    workgroupBarrier();
    for (var i = part.lane; i < BLOCK / 4u; i += part.lanes) {
        let at = place(i, SIZE);
        let own = part.first + 4u * i;
        let value = vec4<f32>(blocks[own], blocks[own + 1u], blocks[own + 2u], blocks[own + 3u]);
        store_row(part.batch, row + at.x, column + at.y, value);
    }
    workgroupBarrier();
}

fn add_to_block(at: u32, x: vec4<f32>, is_first: bool) {
    blocks[at] = select(blocks[at], 0.0, is_first) + x.x;
    blocks[at + 1u] = select(blocks[at + 1u], 0.0, is_first) + x.y;
    blocks[at + 2u] = select(blocks[at + 2u], 0.0, is_first) + x.z;
    blocks[at + 3u] = select(blocks[at + 3u], 0.0, is_first) + x.w;
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
    @builtin(subgroup_id) subgroup: u32,
    @builtin(subgroup_invocation_id) lane: u32,
    @builtin(subgroup_size) lanes: u32,
) {
    begin();
    let i = linear_group(group, groups);
    if i >= tiles(TILE) {
        return;
    }
    let tile = tile_at(i, TILE);
    inner = tile.k;
    let batch = tile.batch;
    let top = tile.row;
    let left = tile.column;
    let base_a = batch * params.batch_stride_a;
    let base_b = batch * params.batch_stride_b;
    let y = subgroup / 2u * 2u * SIZE;
    let x = subgroup % 2u * 4u * SIZE;

    put_all(thread, fetch_all_a(base_a, top, 0u, thread), fetch_all_b(base_b, left, 0u, thread));
    workgroupBarrier();
    var sums = Sums();
    for (var k = DEPTH; ; k += DEPTH) {
        let more = k < tile.k;
        var next_a = mat4x4<f16>();
        var next_b = mat4x4<f16>();
        if more {
            next_a = fetch_all_a(base_a, top, k, thread);
            next_b = fetch_all_b(base_b, left, k, thread);
        }
        sums = advance(sums, 0u, y, x);
        sums = advance(sums, SIZE, y, x);
        if !more {
            break;
        }
        workgroupBarrier();
        put_all(thread, next_a, next_b);
        workgroupBarrier();
    }
    let part = Part(subgroup * BLOCK, lane, lanes, batch);
    store_matrix(part, top + y, left + x, sums.c00);
    store_matrix(part, top + y, left + x + SIZE, sums.c01);
    store_matrix(part, top + y, left + x + 2u * SIZE, sums.c02);
    store_matrix(part, top + y, left + x + 3u * SIZE, sums.c03);
    store_matrix(part, top + y + SIZE, left + x, sums.c10);
    store_matrix(part, top + y + SIZE, left + x + SIZE, sums.c11);
    store_matrix(part, top + y + SIZE, left + x + 2u * SIZE, sums.c12);
    store_matrix(part, top + y + SIZE, left + x + 3u * SIZE, sums.c13);
    if COLUMN_SUMS && left == 0u {
        // The invocations that fetched the same columns add up one after the other.
        let column4 = thread % (TILE / 4u);
        let turn = thread / (TILE / 4u);
        for (var i = 0u; i < WORKGROUP_SIZE / (TILE / 4u); i++) {
            if turn == i {
                add_to_block(4u * column4, column_sums, i == 0u);
            }
            workgroupBarrier();
        }
        if turn == 0u {
            let at = 4u * column4;
            column_sums = vec4<f32>(blocks[at], blocks[at + 1u], blocks[at + 2u], blocks[at + 3u]);
            store_column_sums(batch, top + at);
        }
    }
}
