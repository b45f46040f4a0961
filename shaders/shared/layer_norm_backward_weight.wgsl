struct Params {
    rows: u32,
    columns: u32, // elements of a row
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

override WIDTH: u32 = 64u;

@compute @workgroup_size(WIDTH)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = linear_group(group, groups) * WIDTH + lane;
    if i >= params.chunks * params.columns {
        return;
    }
    let chunk = i / params.columns;
    let column = i - chunk * params.columns;
    let last = min((chunk + 1u) * params.chunk, params.rows);
    var sum = Element();
    var product = Element();
    for (var row = chunk * params.chunk; row < last; row++) {
        let at = row * params.columns + column;
        let g = dy[at];
        sum += g;
        product += g * ((x[at] - mean[row]) * rstd[row]);
    }
    let at = (params.first + chunk) * params.columns + column;
    dweight[at] = product;
    dbias[at] = sum;
}
