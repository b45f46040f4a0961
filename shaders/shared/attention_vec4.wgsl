// Four neighboring columns at a time; a head's number of columns is a multiple of four.
alias Element = vec4<f32>;

// The elements of the columns 4 · quad .. 4 · quad + 4 of the head that starts at column `at`.
fn places(at: u32, quad: u32) -> vec4<u32> {
    return vec4<u32>(at / 4u + min(quad, params.columns / 4u - 1u));
}

// What lies there; all four are the same load.
fn join(x: Element, y: Element, z: Element, w: Element, quad: u32) -> vec4<f32> {
    return x;
}

fn put(at: u32, quad: u32, x: vec4<f32>) {
    if quad < params.columns / 4u {
        result[at / 4u + quad] = x;
    }
}

fn result_quad(at: u32, quad: u32) -> vec4<f32> {
    let i = places(at, quad);
    return join(result[i.x], result[i.y], result[i.z], result[i.w], quad);
}
