// One column at a time; a head has any number of them.
alias Element = f32;

// The elements of the columns 4 · quad .. 4 · quad + 4 of the head that starts at column `at`.
fn places(at: u32, quad: u32) -> vec4<u32> {
    return at + min(4u * quad + FOUR, vec4<u32>(params.columns - 1u));
}

// What lies there, 0 behind the head's last column.
fn join(x: Element, y: Element, z: Element, w: Element, quad: u32) -> vec4<f32> {
    return select(vec4<f32>(), vec4<f32>(x, y, z, w), 4u * quad + FOUR < vec4<u32>(params.columns));
}

fn put(at: u32, quad: u32, x: vec4<f32>) {
    let first = at + 4u * quad;
    let count = params.columns - min(4u * quad, params.columns);
    if count > 0u { result[first] = x.x; }
    if count > 1u { result[first + 1u] = x.y; }
    if count > 2u { result[first + 2u] = x.z; }
    if count > 3u { result[first + 3u] = x.w; }
}

fn result_quad(at: u32, quad: u32) -> vec4<f32> {
    let i = places(at, quad);
    return join(result[i.x], result[i.y], result[i.z], result[i.w], quad);
}
