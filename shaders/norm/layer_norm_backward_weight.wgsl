// Gradients of layer normalization with respect to weight and bias, summed over chunks of rows;
// one invocation an element of one chunk.
//   dweight = Σ dy ∘ (x − mean)·rstd,  dbias = Σ dy
//! workgroup map
//! variant vec4: needs columns % 4; takes 4 an invocation
//! variant scalar
#import shared/grid
#import shared/element

struct Params {
    rows: u32,
    columns: u32, // numbers in a row
    chunk: u32,   // rows of a chunk
    first: u32,   // number of the first chunk
    chunks: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<Element>;             // [rows, columns]
@group(0) @binding(2) var<storage, read> mean: array<f32>;              // [rows]
@group(0) @binding(3) var<storage, read> rstd: array<f32>;              // [rows]
@group(0) @binding(4) var<storage, read> dy: array<Element>;            // [rows, columns]
@group(0) @binding(5) var<storage, read_write> dweight: array<Element>; // [first + chunks .., columns]
@group(0) @binding(6) var<storage, read_write> dbias: array<Element>;   // [first + chunks .., columns]

override WORKGROUP_SIZE: u32 = 64u;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let columns = params.columns / LANES;
    let i = linear_group(group, groups) * WORKGROUP_SIZE + lane;
    if i >= params.chunks * columns {
        return;
    }
    let chunk = i / columns;
    let column = i - chunk * columns;
    let last = min((chunk + 1u) * params.chunk, params.rows);
    var sum = Element();
    var product = Element();
    for (var row = chunk * params.chunk; row < last; row++) {
        let at = row * columns + column;
        let g = dy[at];
        sum += g;
        product += g * ((x[at] - mean[row]) * rstd[row]);
    }
    let at = (params.first + chunk) * columns + column;
    dweight[at] = product;
    dbias[at] = sum;
}
