// What an invocation takes: four neighbouring columns.
alias Columns = vec4<f32>;

fn gelu(x: Columns) -> Columns {
    return activate(x, GELU);
}

fn gelu_slope(x: Columns) -> Columns {
    return activate_slope(x, GELU);
}

fn gate(z: Columns) -> Columns {
    return sigmoid(z);
}
