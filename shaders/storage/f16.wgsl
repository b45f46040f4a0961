// f16 in memory, two values to a u32: `src/shader/f16.rs` adds this to a kernel with bindings in f16.

// The bits of the nearest f16, ties to even; larger values are infinite. In integers, since the rounding of pack2x16float
// depends on the driver, and so does its result for values beyond the largest f16.
fn f16_bits(x: vec4<f32>) -> vec4<u32> {
    let bits = bitcast<vec4<u32>>(x);
    let size = bits & vec4<u32>(0x7fffffffu);
    // A carry goes into the exponent.
    let even = (size >> vec4<u32>(13u)) & vec4<u32>(1u);
    let normal = (size + vec4<u32>(0xc8000fffu) + even) >> vec4<u32>(13u);
    let small = vec4<u32>(round(16777216.0 * min(bitcast<vec4<f32>>(size), vec4<f32>(1.0))));
    let finite = select(normal, small, size < vec4<u32>(0x38800000u));
    let other = select(vec4<u32>(0x7c00u), vec4<u32>(0x7e00u), size > vec4<u32>(0x7f800000u));
    let sign = (bits >> vec4<u32>(16u)) & vec4<u32>(0x8000u);
    return sign | select(finite, other, size >= vec4<u32>(0x477ff000u));
}

fn pack_f16(x: vec4<f32>) -> vec2<u32> {
    let bits = f16_bits(x);
    return bits.xz | (bits.yw << vec2<u32>(16u));
}

fn unpack_f16(x: vec2<u32>) -> vec4<f32> {
    return vec4<f32>(unpack2x16float(x.x), unpack2x16float(x.y));
}

// Element i, one of the two in `word`.
fn unpack_one(word: u32, i: u32) -> f32 {
    return unpack2x16float(word)[i & 1u];
}
