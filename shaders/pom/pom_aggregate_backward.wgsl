// Gradient of the aggregate; one invocation takes all degrees of its columns of one chunk, the products anew.
//   dH_m,t = w_t·D_m,  dp_m = f'(p_m)·H_{m−1}·(dH_m + g_{m+1}·(dH_{m+1} + …))
// PARTS: p has so many parts of columns, DEGREE or 1; the only one gets the sum of all dp_m.
// D is the start of the batch; CAUSAL: the start of the chunk plus Σ_{s ≥ t in the chunk} rate_s·dy_s.
//! workgroup map
//! variant vec4: needs columns % 4; takes 4 an invocation
//! variant scalar
#import shared/grid
#import shared/activation
#import shared/activation_derivative
#import pom/columns
#import pom/chunk

@group(0) @binding(1) var<storage, read> p: array<Columns>;        // [batches, time, PARTS, columns]; in f16 too; may be dp
@group(0) @binding(2) var<storage, read> weight: array<f32>;       // [batch, time]
@group(0) @binding(3) var<storage, read> start: array<Columns>;    // [batch, DEGREE, columns]; CAUSAL: [batches, chunks, DEGREE, columns]
@group(0) @binding(4) var<storage, read> rate: array<f32>;         // CAUSAL: [batch, time]
@group(0) @binding(5) var<storage, read> dy: array<Columns>;       // [batch, DEGREE, columns]; CAUSAL: [batches, time, DEGREE, columns]
@group(0) @binding(6) var<storage, read_write> dp: array<Columns>; // [batches, time, PARTS, columns]; in f16 too

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
    let start_row = select(params.first + own.batch, own.batch * params.chunks + own.chunk, CAUSAL);
    var d: array<Columns, MAX_DEGREE>;
    for (var m = 0u; m < DEGREE; m++) {
        d[m] = start[start_row * stride + m * columns + own.column];
    }
    var g: array<Columns, MAX_DEGREE>;
    var derivative: array<Columns, MAX_DEGREE>;
    for (var t = own.end; t > own.begin; t--) {
        let frame = (params.first + own.batch) * params.time + t - 1u;
        let row = own.batch * params.time + t - 1u;
        let at = row * PARTS * columns + own.column;
        if CAUSAL {
            let r = rate[frame];
            for (var m = 0u; m < DEGREE; m++) {
                d[m] += r * dy[row * stride + m * columns + own.column];
            }
        }
        let w = weight[frame];
        if w == 0.0 {
            for (var m = 0u; m < PARTS; m++) {
                dp[at + m * columns] = Columns(0.0);
            }
            continue;
        }
        var product = Columns(w);
        var value = Columns(1.0);
        var rise = Columns(0.0);
        for (var m = 0u; m < DEGREE; m++) {
            if m < PARTS {
                let x = p[at + m * columns];
                value = factor(x, KIND);
                rise = factor_derivative(x, KIND);
            }
            g[m] = value;
            derivative[m] = rise * product;
            product *= value;
        }
        var above = Columns(0.0);
        var sum = Columns(0.0);
        for (var back = 1u; back <= DEGREE; back++) {
            let m = DEGREE - back;
            above += d[m];
            sum += above * derivative[m];
            if m < PARTS {
                dp[at + m * columns] = sum;
                sum = Columns(0.0);
            }
            above *= g[m];
        }
    }
}
