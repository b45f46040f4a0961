// Numbers by the code of `BinaryKind`.
const ADD: u32 = 0u;
const SUB: u32 = 1u;
const MUL: u32 = 2u;

fn combine(a: vec4<f32>, b: vec4<f32>, kind: u32) -> vec4<f32> {
    switch kind {
        case ADD: { return a + b; }
        case SUB: { return a - b; }
        case MUL: { return a * b; }
        default: { return a / b; }
    }
}
