// Sums the products over a chunk of frames; one invocation takes all degrees of its columns of one chunk.
//   g_m = f(p_m),  H_m = g_m ∘ H_{m−1},  sums[c, m] = Σ_{t in chunk c} w_t H_m,t
// PARTS: p has so many parts of columns, DEGREE or 1, of which all factors are made.
// CAUSAL: every frame of the chunk gets the sum up to itself.

struct Params {
    first: u32,
    batches: u32,
    time: u32,
    columns: u32,
    chunk: u32,
    chunks: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> p: array<Columns>;          // [batches, time, PARTS, columns]
@group(0) @binding(2) var<storage, read> weight: array<f32>;         // [batch, time]
@group(0) @binding(3) var<storage, read_write> sums: array<Columns>; // [batch, chunks, DEGREE, columns]; CAUSAL: [batches, time, DEGREE, columns]

override WIDTH: u32 = 64u;
override DEGREE: u32 = 2u;
override PARTS: u32 = 2u;
override KIND: u32 = 0u;
override CAUSAL: u32 = 0u;

const MAX_DEGREE: u32 = 8u;

@compute @workgroup_size(WIDTH)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = linear_group(group, groups) * WIDTH + lane;
    let block = i / params.columns;
    if block >= params.batches * params.chunks {
        return;
    }
    let column = i - block * params.columns;
    let batch = block / params.chunks;
    let chunk = block - batch * params.chunks;
    let begin = chunk * params.chunk;
    let end = min(begin + params.chunk, params.time);
    let stride = DEGREE * params.columns;
    var total: array<Columns, MAX_DEGREE>;
    for (var m = 0u; m < DEGREE; m++) {
        total[m] = Columns(0.0);
    }
    for (var t = begin; t < end; t++) {
        let w = weight[(params.first + batch) * params.time + t];
        let row = batch * params.time + t;
        if w != 0.0 {
            var product = Columns(w);
            var value = Columns(1.0);
            for (var m = 0u; m < DEGREE; m++) {
                if m < PARTS {
                    value = factor(p[(row * PARTS + m) * params.columns + column], KIND);
                }
                product *= value;
                total[m] += product;
            }
        }
        if CAUSAL == 1u {
            for (var m = 0u; m < DEGREE; m++) {
                sums[row * stride + m * params.columns + column] = total[m];
            }
        }
    }
    if CAUSAL == 0u {
        let at = ((params.first + batch) * params.chunks + chunk) * stride + column;
        for (var m = 0u; m < DEGREE; m++) {
            sums[at + m * params.columns] = total[m];
        }
    }
}
