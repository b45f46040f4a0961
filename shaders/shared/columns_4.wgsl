// What an invocation takes: four neighboring columns.
alias Columns = vec4<f32>;

fn factor(x: Columns, kind: u32) -> Columns {
    return activate(x, kind);
}

fn factor_slope(x: Columns, kind: u32) -> Columns {
    return activate_slope(x, kind);
}

fn gate(z: Columns) -> Columns {
    return sigmoid(z);
}
