// A tile of C: the matmul that it belongs to, its first row, its first column, and the matmul's k.
struct Tile {
    batch: u32,
    row: u32,
    column: u32,
    k: u32,
}

// How many tiles of size×size a matmul has from left to right, and all of them have together.
fn tiles_across(size: u32) -> u32 {
    return (params.n + size - 1u) / size;
}

fn tiles(size: u32) -> u32 {
    return params.batch * ((params.m + size - 1u) / size) * tiles_across(size);
}

// The i-th of them.
fn tile_at(i: u32, size: u32) -> Tile {
    let across = tiles_across(size);
    let of_one = across * ((params.m + size - 1u) / size);
    let within = i % of_one;
    let batch = i / of_one;
    let k = params.k - select(0u, params.missing_k, batch + 1u == params.batch);
    return Tile(batch, within / across * size, within % across * size, k);
}
