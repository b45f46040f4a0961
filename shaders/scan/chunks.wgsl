// Sixteen numbers are the columns of a matrix, so that no loop runs over them. Frames are walked in chunks of 64
// that start at frame 0 in both directions. A chunk's border is 17 rows: the states before its first frame in
// the order of the walk, and the sum of its Δ.
const CHUNK: u32 = 64u;
const STATE: u32 = 16u;
const BORDER: u32 = 17u;

override DESCEND: bool = false;

// The frame at step k of a walk over `count` frames from `begin`.
fn frame(begin: u32, count: u32, k: u32) -> u32 {
    return select(begin + k, begin + count - 1u - k, DESCEND);
}

// Element by element, as the next.
fn exp_each(a: mat4x4<f32>) -> mat4x4<f32> {
    return mat4x4<f32>(exp(a[0]), exp(a[1]), exp(a[2]), exp(a[3]));
}

fn times(a: mat4x4<f32>, b: mat4x4<f32>) -> mat4x4<f32> {
    return mat4x4<f32>(a[0] * b[0], a[1] * b[1], a[2] * b[2], a[3] * b[3]);
}

// Σ a∘b
fn inner(a: mat4x4<f32>, b: mat4x4<f32>) -> f32 {
    return dot(a[0], b[0]) + dot(a[1], b[1]) + dot(a[2], b[2]) + dot(a[3], b[3]);
}
