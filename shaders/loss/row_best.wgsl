// The largest number of a row and the lowest column where it stands, over the lanes of one workgroup.
struct Best {
    value: f32,
    column: u32,
}

var<workgroup> best_values: array<Element, WORKGROUP_SIZE>;
var<workgroup> best_columns: array<Index, WORKGROUP_SIZE>;

// To be called by all lanes with what each has found among its own elements.
fn row_best(lane: u32, own: Element, own_columns: Index) -> Best {
    best_values[lane] = own;
    best_columns[lane] = own_columns;
    workgroupBarrier();
    var value = best_values[0];
    var column = best_columns[0];
    for (var i = 1u; i < WORKGROUP_SIZE; i++) {
        let other = best_values[i];
        let other_column = best_columns[i];
        let better = (other > value) | ((other == value) & (other_column < column));
        value = select(value, other, better);
        column = select(column, other_column, better);
    }
    let top = largest(value);
    let standing = select(Index(0xffffffffu), column, value == Element(top));
    return Best(top, smallest(standing));
}
