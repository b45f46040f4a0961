// The 16 states of a channel are the columns of a matrix, so that no loop runs over them. Frames are walked in
// chunks of 64 that start at frame 0 in both directions. A chunk's border is 17 rows: the states before its
// first frame in the order of the walk, and the sum of its Δ.
const CHUNK: u32 = 64u;
const STATE: u32 = 16u;
const BORDER: u32 = 17u;

override DESCEND: u32 = 0u;

// The frame at step k of a walk over `count` frames from `begin`.
fn frame(begin: u32, count: u32, k: u32) -> u32 {
    return select(begin + k, begin + count - 1u - k, DESCEND == 1u);
}

// A = −exp(A_log) of a channel.
fn rates(channel: u32) -> mat4x4<f32> {
    let row = channel * 4u;
    return mat4x4<f32>(-exp(a_log[row]), -exp(a_log[row + 1u]), -exp(a_log[row + 2u]), -exp(a_log[row + 3u]));
}

// B of a frame, or C.
fn bc_row(row: u32, part: u32) -> mat4x4<f32> {
    let at = row * 8u + part * 4u;
    return mat4x4<f32>(bc[at], bc[at + 1u], bc[at + 2u], bc[at + 3u]);
}

// exp(ΔA)
fn decay(rate: mat4x4<f32>, delta: f32) -> mat4x4<f32> {
    return mat4x4<f32>(exp(delta * rate[0]), exp(delta * rate[1]), exp(delta * rate[2]), exp(delta * rate[3]));
}

// Element by element.
fn times(a: mat4x4<f32>, b: mat4x4<f32>) -> mat4x4<f32> {
    return mat4x4<f32>(a[0] * b[0], a[1] * b[1], a[2] * b[2], a[3] * b[3]);
}

// Σ a∘b
fn inner(a: mat4x4<f32>, b: mat4x4<f32>) -> f32 {
    return dot(a[0], b[0]) + dot(a[1], b[1]) + dot(a[2], b[2]) + dot(a[3], b[3]);
}
