// Four columns of a head, as they are loaded and stored.
#if subgroup
// Four neighboring columns at a time, loaded as two words of 64 bits: a software driver loads for one invocation after
// the other, number by number. A head's number of columns is a multiple of four.
alias Element = vec2<u64>;

// The elements of the columns 4 · column4 .. 4 · column4 + 4 of the head that starts at column `at`.
fn places(at: u32, column4: u32) -> vec4<u32> {
    return vec4<u32>(at / 4u + min(column4, params.head_dim / 4u - 1u));
}

// What lies there; all four are the same load. The first element of a pair has the low bits.
fn join(x: Element, y: Element, z: Element, w: Element, column4: u32) -> vec4<f32> {
    return bitcast<vec4<f32>>(vec4<u32>(u32(x.x), u32(x.x >> 32u), u32(x.y), u32(x.y >> 32u)));
}

fn result_vec4(at: u32, column4: u32) -> vec4<f32> {
    let x = result[places(at, column4).x];
    return join(x, x, x, x, column4);
}

fn put(at: u32, column4: u32, x: vec4<f32>) {
    if column4 < params.head_dim / 4u {
        let bits = bitcast<vec4<u32>>(x);
        result[at / 4u + column4] = vec2<u64>(u64(bits.x) | u64(bits.y) << 32u, u64(bits.z) | u64(bits.w) << 32u);
    }
}
#elif vec4
// Four neighboring columns at a time; a head's number of columns is a multiple of four.
alias Element = vec4<f32>;

// The elements of the columns 4 · column4 .. 4 · column4 + 4 of the head that starts at column `at`.
fn places(at: u32, column4: u32) -> vec4<u32> {
    return vec4<u32>(at / 4u + min(column4, params.head_dim / 4u - 1u));
}

// What lies there; all four are the same load.
fn join(x: Element, y: Element, z: Element, w: Element, column4: u32) -> vec4<f32> {
    return x;
}

fn put(at: u32, column4: u32, x: vec4<f32>) {
    if column4 < params.head_dim / 4u {
        result[at / 4u + column4] = x;
    }
}

fn result_vec4(at: u32, column4: u32) -> vec4<f32> {
    let i = places(at, column4);
    return join(result[i.x], result[i.y], result[i.z], result[i.w], column4);
}
#else
// One column at a time; a head has any number of them.
alias Element = f32;

// The elements of the columns 4 · column4 .. 4 · column4 + 4 of the head that starts at column `at`.
fn places(at: u32, column4: u32) -> vec4<u32> {
    return at + min(4u * column4 + FOUR, vec4<u32>(params.head_dim - 1u));
}

// What lies there, 0 behind the head's last column.
fn join(x: Element, y: Element, z: Element, w: Element, column4: u32) -> vec4<f32> {
    return select(vec4<f32>(), vec4<f32>(x, y, z, w), 4u * column4 + FOUR < vec4<u32>(params.head_dim));
}

fn put(at: u32, column4: u32, x: vec4<f32>) {
    let first = at + 4u * column4;
    let count = params.head_dim - min(4u * column4, params.head_dim);
    if count > 0u { result[first] = x.x; }
    if count > 1u { result[first + 1u] = x.y; }
    if count > 2u { result[first + 2u] = x.z; }
    if count > 3u { result[first + 3u] = x.w; }
}

fn result_vec4(at: u32, column4: u32) -> vec4<f32> {
    let i = places(at, column4);
    return join(result[i.x], result[i.y], result[i.z], result[i.w], column4);
}
#endif
