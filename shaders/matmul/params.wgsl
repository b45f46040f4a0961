// Sizes of a matmul, its override constants, and rounding to f16.
struct Params {
    m: u32,
    n: u32,
    k: u32,
    batch: u32,
    missing_k: u32,      // what the batch's last matmul lacks of k; with TRANSPOSE_A without TRANSPOSE_B only
    batch_stride_a: u32, // elements; 0 repeats one matrix
    batch_stride_b: u32,
    batch_stride_c: u32,
    alpha: f32,
    scale: f32,     // of what is stored, but for the other operand
    threshold: u32, // DROPOUT: 16-bit halves below it are kept
    stream: u32,    // DROPOUT
    first: u32,     // DROPOUT: the number of C's first element in what is drawn as a whole, in vec4s
    has_bias: u32,
    place: u32,     // of the other operand
    time: u32,      // frames of an utterance, where those behind its length are 0; else 0
    first_row: u32, // the number of C's first row among all frames
}

override TRANSPOSE_A: bool = false; // A is stored [k, m]
override TRANSPOSE_B: bool = false; // B is stored [n, k]
override F16_INPUTS: bool = false; // A and B are taken in f16
override ROUNDED: bool = false; // and at least one of them is rounded to it as it is read

// k of the matmul that an invocation's tile belongs to: its `Tile::k`, where loads need it.
var<private> inner: u32;

const SIGN: u32 = 0x80000000u;
const EXPONENT: u32 = 0x7f800000u;
const MISSING: u32 = 0x1fffu; // the bits that a half lacks

// To the nearest half, the even one of two, and what is beyond the largest to infinity: on the bits, since drivers
// round otherwise in pack2x16float or leave it out together with its inverse.
fn nearest_f16(x: vec4<f32>) -> vec4<f32> {
    let bits = bitcast<vec4<u32>>(x);
    // A carry goes into the exponent.
    let even = (bits >> vec4<u32>(13u)) & vec4<u32>(1u);
    let normal = bitcast<vec4<f32>>((bits + MISSING / 2u + even) & vec4<u32>(~MISSING));
    let small = round(16777216.0 * x) / 16777216.0;
    let infinite = bitcast<vec4<f32>>((bits & vec4<u32>(SIGN)) | vec4<u32>(EXPONENT));
    let finite = select(normal, small, abs(x) < vec4<f32>(0.00006103515625));
    let rounded = select(finite, infinite, abs(x) >= vec4<f32>(65520.0));
    return select(rounded, x, (bits & vec4<u32>(EXPONENT)) == vec4<u32>(EXPONENT));
}

// An operand's elements as the matmul takes them.
fn taken(x: vec4<f32>) -> vec4<f32> {
    if ROUNDED {
        return nearest_f16(x);
    }
    return x;
}
