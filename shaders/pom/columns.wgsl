// What an invocation takes: LANES neighboring columns.
#if vec4
const LANES: u32 = 4u;
alias Columns = vec4<f32>;

fn factor(x: Columns, kind: u32) -> Columns {
    return activate(x, kind);
}

fn factor_derivative(x: Columns, kind: u32) -> Columns {
    return activation_derivative(x, kind);
}

fn gate(z: Columns) -> Columns {
    return sigmoid(z);
}
#else
const LANES: u32 = 1u;
alias Columns = f32;

fn factor(x: Columns, kind: u32) -> Columns {
    return activate(vec4<f32>(x), kind).x;
}

fn factor_derivative(x: Columns, kind: u32) -> Columns {
    return activation_derivative(vec4<f32>(x), kind).x;
}

fn gate(z: Columns) -> Columns {
    return sigmoid(vec4<f32>(z)).x;
}
#endif
