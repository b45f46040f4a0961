// Four neighboring columns at a time, loaded as two words of 64 bits: a software driver loads for one invocation after
// the other, number by number. A head's number of columns is a multiple of four.
alias Element = vec2<u64>;

// The elements of the columns 4 · quad .. 4 · quad + 4 of the head that starts at column `at`.
fn places(at: u32, quad: u32) -> vec4<u32> {
    return vec4<u32>(at / 4u + min(quad, params.columns / 4u - 1u));
}

// What lies there; all four are the same load. The first element of a pair has the low bits.
fn join(x: Element, y: Element, z: Element, w: Element, quad: u32) -> vec4<f32> {
    return bitcast<vec4<f32>>(vec4<u32>(u32(x.x), u32(x.x >> 32u), u32(x.y), u32(x.y >> 32u)));
}

fn result_quad(at: u32, quad: u32) -> vec4<f32> {
    let x = result[places(at, quad).x];
    return join(x, x, x, x, quad);
}

fn put(at: u32, quad: u32, x: vec4<f32>) {
    if quad < params.columns / 4u {
        let bits = bitcast<vec4<u32>>(x);
        result[at / 4u + quad] = vec2<u64>(u64(bits.x) | u64(bits.y) << 32u, u64(bits.z) | u64(bits.w) << 32u);
    }
}
