// Slices of A and B on their way from the device's memory to workgroup memory, four elements of each an invocation of 256.
// The importer has slices DEPTH deep of VEC4S times four rows of op(A) and columns of op(B), and STRIDE from k to k.

// What an invocation fetches of a factor whose k is innermost: the row and which four of the slice's k.
fn along_k(thread: u32) -> vec2<u32> {
    return vec2<u32>(thread / (DEPTH / 4u), 4u * (thread % (DEPTH / 4u)));
}

// And of one whose k is outermost: the first of four columns and the k.
fn across_k(thread: u32) -> vec2<u32> {
    return vec2<u32>(4u * (thread % VEC4S), thread / VEC4S);
}

fn fetch_a(base: u32, top: u32, k: u32, thread: u32) -> vec4<f32> {
    if TRANSPOSE_A {
        let own = across_k(thread);
        let at = vec4_index(base, min(k + own.y, inner - 1u), min(top + own.x, params.m - 4u), params.m);
        let x = select(vec4<f32>(), a[at], k + own.y < inner);
        note_columns(x);
        return taken(x);
    }
    let own = along_k(thread);
    let at = vec4_index(base, min(top + own.x, params.m - 1u), min(k + own.y, params.k - 4u), params.k);
    return select(vec4<f32>(), load_a(at), k + own.y < inner);
}

fn fetch_b(base: u32, left: u32, k: u32, thread: u32) -> vec4<f32> {
    if TRANSPOSE_B {
        let own = along_k(thread);
        let at = vec4_index(base, min(left + own.x, params.n - 1u), min(k + own.y, params.k - 4u), params.k);
        return select(vec4<f32>(), load_b(at), k + own.y < inner);
    }
    let own = across_k(thread);
    let row = min(k + own.y, inner - 1u);
    let column = min(left + own.x, params.n - 4u);
    let x = normalized(b[vec4_index(base, row, column, params.n)], base / params.n + row, column);
    return select(vec4<f32>(), taken(x), k + own.y < inner);
}

fn put_a(slice: u32, thread: u32, value: vec4<f32>) {
    if TRANSPOSE_A {
        slices_a[slice + thread / VEC4S * STRIDE + thread % VEC4S] = value;
        return;
    }
    let own = along_k(thread);
    let at = slice + own.y * STRIDE + own.x / 4u;
    let part = own.x % 4u;
    slices_a[at][part] = value.x;
    slices_a[at + STRIDE][part] = value.y;
    slices_a[at + 2u * STRIDE][part] = value.z;
    slices_a[at + 3u * STRIDE][part] = value.w;
}

fn put_b(slice: u32, thread: u32, value: vec4<f32>) {
    if !TRANSPOSE_B {
        slices_b[slice + thread / VEC4S * STRIDE + thread % VEC4S] = value;
        return;
    }
    let own = along_k(thread);
    let at = slice + own.y * STRIDE + own.x / 4u;
    let part = own.x % 4u;
    slices_b[at][part] = value.x;
    slices_b[at + STRIDE][part] = value.y;
    slices_b[at + 2u * STRIDE][part] = value.z;
    slices_b[at + 3u * STRIDE][part] = value.w;
}
