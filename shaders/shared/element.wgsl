// What an invocation reads at once: LANES neighbors, whose number divides the rows' length.
#if vec4
alias Element = vec4<f32>;
alias Index = vec4<u32>;
const LANES: u32 = 4u;

fn total(v: Element) -> f32 {
    return (v.x + v.y) + (v.z + v.w);
}

fn largest(v: Element) -> f32 {
    return max(max(v.x, v.y), max(v.z, v.w));
}

fn smallest(v: Index) -> u32 {
    return min(min(v.x, v.y), min(v.z, v.w));
}

fn part(v: Element, i: u32) -> f32 {
    return v[i];
}

// The column numbers of element `i` of a row.
fn columns_of(i: u32) -> Index {
    return vec4<u32>(4u * i) + vec4<u32>(0u, 1u, 2u, 3u);
}
#else
alias Element = f32;
alias Index = u32;
const LANES: u32 = 1u;

fn total(v: Element) -> f32 {
    return v;
}

fn largest(v: Element) -> f32 {
    return v;
}

fn smallest(v: Index) -> u32 {
    return v;
}

fn part(v: Element, i: u32) -> f32 {
    return v;
}

// The column numbers of element `i` of a row.
fn columns_of(i: u32) -> Index {
    return i;
}
#endif
