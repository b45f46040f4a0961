// Activations by their codes, those of `ActivationKind`.
const GELU: u32 = 0u;
const SILU: u32 = 1u;
const RELU: u32 = 2u;
const LEAKY_RELU: u32 = 3u;
const SIGMOID: u32 = 4u;
const BOUNDED_LEAKY_RELU: u32 = 5u;
const HARD_SIGMOID: u32 = 6u;
const SOFTPLUS: u32 = 7u;
const LEAKY_SLOPE: f32 = 0.01;

// What a code gives that is no activation's.
fn not_a_number() -> vec4<f32> {
    var bits = 0x7fc00000u;
    return vec4<f32>(bitcast<f32>(bits));
}

// erf(x) within 2e-7: its Taylor series below 1; above, 1 − t·exp(−x² + Q(t)), t = 1/(1 + x/2).
fn erf(x: vec4<f32>) -> vec4<f32> {
    let a = min(abs(x), vec4<f32>(4.0));
    let s = a * a;
    var p = 1.6462e-6 - s * 1.6366e-7;
    p = 1.20553e-4 - s * (1.49257e-5 - s * p);
    p = 5.2239776e-3 - s * (8.5483270e-4 - s * p);
    p = 0.11283792 - s * (0.026866171 - s * p);
    let small = a * (1.1283792 - s * (0.37612639 - s * p));
    let t = 1.0 / (1.0 + 0.5 * a);
    let q = -1.26551223 + t * (1.00002368 + t * (0.37409196 + t * (0.09678418 + t * (-0.18628806 + t * (0.27886807 + t * (-1.13520398 + t * (1.48851587 + t * (-0.82215223 + t * 0.17087277))))))));
    let large = 1.0 - t * exp(-s + q);
    return sign(x) * select(large, small, a < vec4<f32>(1.0));
}

fn sigmoid(x: vec4<f32>) -> vec4<f32> {
    return 1.0 / (1.0 + exp(-clamp(x, vec4<f32>(-80.0), vec4<f32>(80.0))));
}

// max(x, 0) + ln(1 + e), e = exp(−|x|), with ln(1 + e) = 2 artanh(e/(2 + e)): exact to a few roundings where e is
// small too, as 1 + e is not.
fn softplus(x: vec4<f32>) -> vec4<f32> {
    let e = exp(-min(abs(x), vec4<f32>(80.0)));
    let s = e / (2.0 + e);
    let q = s * s;
    var p = 0.07692308 + q * (0.06666667 + q * 0.05882353);
    p = 0.14285715 + q * (0.11111111 + q * (0.09090909 + q * p));
    p = 1.0 + q * (0.33333334 + q * (0.2 + q * p));
    return max(x, vec4<f32>(0.0)) + 2.0 * s * p;
}

fn activate(x: vec4<f32>, kind: u32) -> vec4<f32> {
    switch kind {
        case GELU: { return 0.5 * x * (1.0 + erf(x * 0.70710678)); }
        case SILU: { return max(x, vec4<f32>(-80.0)) * sigmoid(x); }
        case RELU: { return max(x, vec4<f32>(0.0)); }
        case LEAKY_RELU: { return select(x * LEAKY_SLOPE, x, x > vec4<f32>(0.0)); }
        case BOUNDED_LEAKY_RELU: {
            return clamp(select(x * LEAKY_SLOPE, x, x > vec4<f32>(0.0)), vec4<f32>(-0.1), vec4<f32>(6.0));
        }
        case HARD_SIGMOID: { return clamp(x + 3.0, vec4<f32>(0.0), vec4<f32>(6.0)) / 6.0; }
        case SOFTPLUS: { return softplus(x); }
        case SIGMOID: { return sigmoid(x); }
        default: { return not_a_number(); }
    }
}
