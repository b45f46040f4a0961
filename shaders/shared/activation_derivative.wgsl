// d activate / dx
fn activation_derivative(x: vec4<f32>, kind: u32) -> vec4<f32> {
    switch kind {
        case GELU: {
            let density = 0.39894228 * exp(-0.5 * min(x * x, vec4<f32>(160.0)));
            return 0.5 * (1.0 + erf(x * 0.70710678)) + x * density;
        }
        case SILU: {
            let s = sigmoid(x);
            return s * (1.0 + x * (1.0 - s));
        }
        case RELU: { return select(vec4<f32>(0.0), vec4<f32>(1.0), x > vec4<f32>(0.0)); }
        case LEAKY_RELU: { return select(vec4<f32>(LEAKY_SLOPE), vec4<f32>(1.0), x > vec4<f32>(0.0)); }
        case BOUNDED_LEAKY_RELU: {
            let derivative = select(vec4<f32>(LEAKY_SLOPE), vec4<f32>(1.0), x > vec4<f32>(0.0));
            return select(vec4<f32>(0.0), derivative, abs(x + 2.0) <= vec4<f32>(8.0));
        }
        case HARD_SIGMOID: { return select(vec4<f32>(0.0), vec4<f32>(1.0 / 6.0), abs(x) < vec4<f32>(3.0)); }
        case SOFTPLUS: { return sigmoid(x); }
        case SIGMOID: {
            let s = sigmoid(x);
            return s * (1.0 - s);
        }
        default: { return not_a_number(); }
    }
}
