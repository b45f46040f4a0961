// Sums the products over a chunk of frames; one invocation takes all degrees of its columns of one chunk.
//   g_m = f(p_m),  H_m = g_m ∘ H_{m−1},  sums[c, m] = Σ_{t in chunk c} w_t H_m,t
// PARTS: p has so many parts of columns, DEGREE or 1, of which all factors are made.
// CAUSAL: every frame of the chunk gets the sum up to itself.
//! workgroup map
//! variant vec4: needs columns % 4; takes 4 an invocation
//! variant scalar
#import shared/grid
#import shared/activation
#import shared/activation_derivative
#import pom/columns
#import pom/chunk

@group(0) @binding(1) var<storage, read> p: array<Columns>;          // [batches, time, PARTS, columns]; in f16 too
@group(0) @binding(2) var<storage, read> weight: array<f32>;         // [batch, time]
@group(0) @binding(3) var<storage, read_write> sums: array<Columns>; // [batch, chunks, DEGREE, columns]; CAUSAL: [batches, time, DEGREE, columns]

override WORKGROUP_SIZE: u32 = 64u;
override DEGREE: u32 = 2u; // values 2, 1, 3, 4, 5, 6, 7, 8
override PARTS: u32 = 2u; // values 2, 1, 3, 4, 5, 6, 7, 8
override KIND: u32 = 0u; // values 0..=7: the activation
override CAUSAL: bool = false;

const MAX_DEGREE: u32 = 8u;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let columns = params.columns / LANES;
    let own = chunk_at(linear_group(group, groups) * WORKGROUP_SIZE + lane, columns);
    if own.batch >= params.batches {
        return;
    }
    let stride = DEGREE * columns;
    var total: array<Columns, MAX_DEGREE>;
    for (var m = 0u; m < DEGREE; m++) {
        total[m] = Columns(0.0);
    }
    for (var t = own.begin; t < own.end; t++) {
        let w = weight[(params.first + own.batch) * params.time + t];
        let row = own.batch * params.time + t;
        if w != 0.0 {
            var product = Columns(w);
            var value = Columns(1.0);
            for (var m = 0u; m < DEGREE; m++) {
                if m < PARTS {
                    value = factor(p[(row * PARTS + m) * columns + own.column], KIND);
                }
                product *= value;
                total[m] += product;
            }
        }
        if CAUSAL {
            for (var m = 0u; m < DEGREE; m++) {
                sums[row * stride + m * columns + own.column] = total[m];
            }
        }
    }
    if !CAUSAL {
        let at = ((params.first + own.batch) * params.chunks + own.chunk) * stride + own.column;
        for (var m = 0u; m < DEGREE; m++) {
            sums[at + m * columns] = total[m];
        }
    }
}
