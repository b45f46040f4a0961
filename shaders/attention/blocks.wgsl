// What the attention kernels share. A workgroup owns a tile of 32 rows of one head of one utterance and walks
// over the other side in KV blocks of 64. Of both it makes a tile of weights in workgroup memory, an invocation 4 rows
// of 16 at a time; then the weights are multiplied with the KV block, an invocation 4 rows of 16 columns at a time.
//
//   score_ij = scale · q_i·k_j                                     POSITION 0
//   score_ij = scale · R_i q_i · R_j k_j                           ROTARY: R_t turns the columns (2c, 2c + 1)
//   score_ij = scale · ((q_i + u)·k_j + (q_i + v)·p_{|i − j|})     RELATIVE

struct Params {
    // The tiles of this dispatch: of all rows of a head, of all heads, of the utterances that are bound.
    first_tile: u32,
    tiles: u32,
    // The first utterance that is bound.
    first_batch: u32,
    time: u32,
    heads: u32,
    head_dim: u32,
    // Columns from a head to the next, and from its queries to its keys and from these to its values.
    head_stride: u32,
    part_stride: u32,
    // The part of the walk that this dispatch takes, in multiples of the KV block; what is before has been walked.
    begin: u32,
    end: u32,
    // Walks the other way and adds to what the tiles hold already: `backward_position` alone.
    reversed: u32,
    added: u32,
    scale: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> qkv: array<Element>;       // [batches, time, 3 · heads · head_dim]
@group(0) @binding(2) var<storage, read> lengths: array<u32>;       // [batch]
@group(0) @binding(3) var<storage, read> positions: array<Element>; // ROTARY: [time, head_dim], sines and cosines; RELATIVE: p [time, heads, head_dim]
@group(0) @binding(4) var<storage, read> bias: array<Element>;      // RELATIVE: u and v [2, heads, head_dim]

override POSITION: u32 = 0u; // values 0..=2: none, ROTARY, RELATIVE
const ROTARY: u32 = 1u;
const RELATIVE: u32 = 2u;

const TILE: u32 = 32u;
const ROWS4: u32 = 8u; // TILE / 4
const KV_BLOCK: u32 = 64u;
const UNITS: u32 = 32u; // TILE / 4 · KV_BLOCK / 16
const FOUR: vec4<u32> = vec4<u32>(0u, 1u, 2u, 3u);

// Kinds of rows.
const QUERY: u32 = 0u;
const POSITION_QUERY: u32 = 1u;
const KEY: u32 = 2u;
const VALUE: u32 = 3u;
const DISTANCE: u32 = 4u;
const DY: u32 = 5u;

// Sixteen vectors, four by four.
struct Block {
    a: mat4x4<f32>,
    b: mat4x4<f32>,
    c: mat4x4<f32>,
    d: mat4x4<f32>,
}

struct Tile {
    utterance: u32, // of those that are bound
    head: u32,
    row: u32,
    length: u32,
}

var<private> tile: Tile;

var<workgroup> weights: array<mat4x4<f32>, 128>; // [KV_BLOCK / 4, ROWS4]: column j is for j of the KV block

fn locate(group: u32) -> Tile {
    let tiles = (params.time + TILE - 1u) / TILE;
    let index = params.first_tile + group;
    let head = index / tiles;
    let utterance = head / params.heads;
    return Tile(
        utterance,
        head - utterance * params.heads,
        (index - head * tiles) * TILE,
        min(lengths[params.first_batch + utterance], params.time),
    );
}

// Where the row of all heads' columns starts in what has a number for each frame of each head.
fn row_of_head() -> u32 {
    return ((params.first_batch + tile.utterance) * params.heads + tile.head) * params.time;
}

// Where the queries (part 0), keys or values of a frame start.
fn part_of(frame: u32, part: u32) -> u32 {
    let row = tile.utterance * params.time + frame;
    return row * 3u * params.heads * params.head_dim + tile.head * params.head_stride + part * params.part_stride;
}

fn qkv_vec4(frame: u32, which: u32, column4: u32) -> vec4<f32> {
    let i = places(part_of(frame, which), column4);
    return join(qkv[i.x], qkv[i.y], qkv[i.z], qkv[i.w], column4);
}

fn position_vec4(at: u32, column4: u32) -> vec4<f32> {
    let i = places(at, column4);
    return join(positions[i.x], positions[i.y], positions[i.z], positions[i.w], column4);
}

fn bias_vec4(which: u32, column4: u32) -> vec4<f32> {
    let i = places((which * params.heads + tile.head) * params.head_dim, column4);
    return join(bias[i.x], bias[i.y], bias[i.z], bias[i.w], column4);
}

// R_t x, and with `back` its inverse.
fn rotated(x: vec4<f32>, frame: u32, column4: u32, back: bool) -> vec4<f32> {
    if POSITION != ROTARY {
        return x;
    }
    let angle = position_vec4(frame * params.head_dim, column4);
    let sine = select(angle.xxzz, -angle.xxzz, back);
    return x * angle.yyww + vec4<f32>(-x.y, x.x, -x.w, x.z) * sine;
}

// Four columns of a row: queries have their bias and are scaled, queries and keys are turned. Rows behind the last
// are the last.
fn operand(kind: u32, row: u32, column4: u32) -> vec4<f32> {
    let frame = min(row, params.time - 1u);
    let key = min(row, max(tile.length, 1u) - 1u);
    if kind == DY {
        return dy_vec4(frame, column4);
    }
    if kind == DISTANCE {
        return position_vec4((frame * params.heads + tile.head) * params.head_dim, column4);
    }
    if kind == VALUE {
        return qkv_vec4(key, 2u, column4);
    }
    if kind == KEY {
        return rotated(qkv_vec4(key, 1u, column4), key, column4, false);
    }
    var q = qkv_vec4(frame, 0u, column4);
    if POSITION == RELATIVE {
        q += bias_vec4(kind, column4);
    }
    return params.scale * rotated(q, frame, column4, false);
}

fn four_rows(kind: u32, row: u32, column4: u32) -> mat4x4<f32> {
    return mat4x4<f32>(
        operand(kind, row, column4),
        operand(kind, row + 1u, column4),
        operand(kind, row + 2u, column4),
        operand(kind, row + 3u, column4),
    );
}

// Rows from `first` on, which may be below 0; distances count without their sign.
fn window(kind: u32, first: i32, column4: u32) -> mat4x4<f32> {
    let row = first + vec4<i32>(0, 1, 2, 3);
    let i = vec4<u32>(select(max(row, vec4<i32>()), abs(row), vec4<bool>(kind == DISTANCE)));
    return mat4x4<f32>(
        operand(kind, i.x, column4),
        operand(kind, i.y, column4),
        operand(kind, i.z, column4),
        operand(kind, i.w, column4),
    );
}

// s + Σ_c rows[c] · other[c]ᵀ: column j of the result's matrices is for row j of `other`, its parts for the four rows.
fn multiply_add(s: Block, rows: mat4x4<f32>, other: Block) -> Block {
    let x = transpose(rows);
    return Block(s.a + x * other.a, s.b + x * other.b, s.c + x * other.c, s.d + x * other.d);
}

// Of eight neighboring rows those that four rows r meet at each of four others j: matrix j has the rows 3 + j − r.
fn diagonals(x: mat4x4<f32>, y: mat4x4<f32>) -> Block {
    return Block(
        mat4x4<f32>(x[3], x[2], x[1], x[0]),
        mat4x4<f32>(y[0], x[3], x[2], x[1]),
        mat4x4<f32>(y[1], y[0], x[3], x[2]),
        mat4x4<f32>(y[2], y[1], y[0], x[3]),
    );
}

fn dots(x: mat4x4<f32>, y: mat4x4<f32>) -> vec4<f32> {
    return vec4<f32>(dot(x[0], y[0]), dot(x[1], y[1]), dot(x[2], y[2]), dot(x[3], y[3]));
}

// The products of four own rows with what they meet at four others.
fn own_diagonals(rows: mat4x4<f32>, x: mat4x4<f32>, y: mat4x4<f32>) -> mat4x4<f32> {
    let met = diagonals(x, y);
    return mat4x4<f32>(dots(rows, met.a), dots(rows, met.b), dots(rows, met.c), dots(rows, met.d));
}

// The products of four others with what they meet at four own rows.
fn other_diagonals(others: mat4x4<f32>, x: mat4x4<f32>, y: mat4x4<f32>) -> mat4x4<f32> {
    let met = diagonals(x, y);
    return mat4x4<f32>(others[0] * met.a, others[1] * met.b, others[2] * met.c, others[3] * met.d);
}

// The scores of 4 queries at 16 keys: column j of the result's matrices is for key j, its parts for the queries.
fn scores_of_queries(lane: u32, row: u32, key: u32) -> Block {
    var s = Block();
    for (var column4 = 0u; column4 < (params.head_dim + 3u) / 4u; column4++) {
        s = multiply_add(s, four_rows(QUERY, row, column4), sixteen_rows(lane, KEY, key, column4));
        if POSITION == RELATIVE {
            let q = four_rows(POSITION_QUERY, row, column4);
            let first = i32(key) - i32(row) - 3;
            let n0 = window(DISTANCE, first, column4);
            let n4 = window(DISTANCE, first + 4, column4);
            let n8 = window(DISTANCE, first + 8, column4);
            let n12 = window(DISTANCE, first + 12, column4);
            let n16 = window(DISTANCE, first + 16, column4);
            s.a += own_diagonals(q, n0, n4);
            s.b += own_diagonals(q, n4, n8);
            s.c += own_diagonals(q, n8, n12);
            s.d += own_diagonals(q, n12, n16);
        }
    }
    return s;
}

fn column_sum(x: mat4x4<f32>) -> vec4<f32> {
    return (x[0] + x[1]) + (x[2] + x[3]);
}

fn column_sums(x: Block) -> vec4<f32> {
    return (column_sum(x.a) + column_sum(x.b)) + (column_sum(x.c) + column_sum(x.d));
}

// Keeps the weights of a unit, number `unit / 8` of the KV block, for four rows.
fn keep(unit: u32, w: Block) {
    let at = unit / 8u * 32u + unit % 8u;
    weights[at] = w.a;
    weights[at + 8u] = w.b;
    weights[at + 16u] = w.c;
    weights[at + 24u] = w.d;
}

fn kept(unit: u32) -> Block {
    let at = unit / 8u * 32u + unit % 8u;
    return Block(weights[at], weights[at + 8u], weights[at + 16u], weights[at + 24u]);
}

// Σ_j weight_rj · other_j over the KV block from `first` on, sixteen columns: a matrix for each four of them, whose
// column r is for row r.
fn times_block(lane: u32, row4: u32, kind: u32, first: u32, column4: u32) -> Block {
    var x = Block();
    for (var k = 0u; k < KV_BLOCK / 4u; k++) {
        let w = weights[8u * k + row4];
        let other = sixteen_columns(lane, kind, first + 4u * k, column4);
        x = Block(
            x.a + w * transpose(other.a),
            x.b + w * transpose(other.b),
            x.c + w * transpose(other.c),
            x.d + w * transpose(other.d),
        );
    }
    return Block(transpose(x.a), transpose(x.b), transpose(x.c), transpose(x.d));
}

// The vectors of a block by matrix and column, for loops.
fn vectors(x: Block) -> array<vec4<f32>, 16> {
    return array<vec4<f32>, 16>(
        x.a[0], x.a[1], x.a[2], x.a[3], x.b[0], x.b[1], x.b[2], x.b[3],
        x.c[0], x.c[1], x.c[2], x.c[3], x.d[0], x.d[1], x.d[2], x.d[3],
    );
}

// How many of four there are in front of `end`.
fn up_to(first: u32, end: u32) -> u32 {
    return min(end - min(first, end), 4u);
}
