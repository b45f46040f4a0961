// Four neighbors of A and of B.
#if u64
// A software driver loads for one invocation after the other, number by number, so that loads of 64 bits take half the
// instructions of those of 32.
// The first element of a pair has the low bits.
fn pairs(x: vec2<u64>) -> vec4<f32> {
    return bitcast<vec4<f32>>(vec4<u32>(u32(x.x), u32(x.x >> 32u), u32(x.y), u32(x.y >> 32u)));
}

fn load_a(i: u32) -> vec4<f32> {
    return taken(pairs(a[i]));
}

fn load_b(i: u32) -> vec4<f32> {
    return taken(pairs(b[i]));
}
#else
// Four elements of A and of B where they are bound as such.
fn load_a(i: u32) -> vec4<f32> {
    return taken(a[i]);
}

fn load_b(i: u32) -> vec4<f32> {
    return taken(b[i]);
}
#endif
