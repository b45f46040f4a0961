// What an invocation takes: one column.
alias Columns = f32;

fn factor(x: Columns, kind: u32) -> Columns {
    return activate(vec4<f32>(x), kind).x;
}

fn factor_slope(x: Columns, kind: u32) -> Columns {
    return activate_slope(vec4<f32>(x), kind).x;
}

fn gate(z: Columns) -> Columns {
    return sigmoid(vec4<f32>(z)).x;
}
