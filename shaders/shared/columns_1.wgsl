// What an invocation takes: one column.
alias Columns = f32;

fn gelu(x: Columns) -> Columns {
    return activate(vec4<f32>(x), GELU).x;
}

fn gelu_slope(x: Columns) -> Columns {
    return activate_slope(vec4<f32>(x), GELU).x;
}

fn gate(z: Columns) -> Columns {
    return sigmoid(vec4<f32>(z)).x;
}
