// A tile of C: the product that it belongs to, its first row and its first column.
struct Tile {
    batch: u32,
    row: u32,
    column: u32,
}

// How many tiles of size×size a product has from left to right, and all of them have together.
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
    return Tile(i / of_one, within / across * size, within % across * size);
}
