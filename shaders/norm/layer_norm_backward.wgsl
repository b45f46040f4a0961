// Gradients of layer normalization; one workgroup a chunk of rows, whose gradients it writes, and over which it sums those
// of weight and bias.
//   dx = rstd·(g − mean(g) − x̂·mean(g ∘ x̂)) + addend,  g = dy ∘ weight,  x̂ = (x − mean)·rstd
//   sums = [Σ dy ∘ x̂ | Σ dy]
//! workgroup row
//! variant vec4: needs columns % 4
//! variant scalar
#import shared/grid
#import shared/row
#import shared/element

struct Params {
    rows: u32,
    columns: u32, // numbers in a row
    inverse: f32, // 1 / length of a row
    chunk: u32,   // rows of a chunk
    first: u32,   // number of the first chunk
    has_addend: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<Element>;          // [rows, columns]; in f16 too
@group(0) @binding(2) var<storage, read> weight: array<Element>;     // [columns]
@group(0) @binding(3) var<storage, read> mean: array<f32>;           // [rows]
@group(0) @binding(4) var<storage, read> rstd: array<f32>;           // [rows]
@group(0) @binding(5) var<storage, read> dy: array<Element>;         // [rows, columns]; in f16 too
@group(0) @binding(6) var<storage, read> addend: array<Element>;     // [rows, columns]; read with params.has_addend only; in f16 too; may be dx
@group(0) @binding(7) var<storage, read_write> dx: array<Element>;   // [rows, columns]; in f16 too
@group(0) @binding(8) var<storage, read_write> sums: array<Element>; // [first + chunks .., 2, columns]

override WORKGROUP_SIZE: u32 = 64u;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let columns = params.columns / LANES;
    let chunk = linear_group(group, groups);
    let first = chunk * params.chunk;
    if first >= params.rows {
        return;
    }
    let last = min(first + params.chunk, params.rows);
    for (var row = first; row < last; row++) {
        let start = row * columns;
        let center = mean[row];
        let scale = rstd[row];
        var sum = Element();
        var product = Element();
        for (var c = lane; c < columns; c += WORKGROUP_SIZE) {
            let g = dy[start + c] * weight[c];
            sum += g;
            product += g * (x[start + c] - center);
        }
        let means = row_sum(lane, vec2<f32>(total(sum), total(product) * scale)) * params.inverse;
        let projection = means.y * scale;
        for (var c = lane; c < columns; c += WORKGROUP_SIZE) {
            let g = dy[start + c] * weight[c];
            var value = scale * (g - means.x - (x[start + c] - center) * projection);
            if params.has_addend != 0u {
                value += addend[start + c];
            }
            dx[start + c] = value;
        }
    }
    // The rows come from a cache this time.
    for (var c = lane; c < columns; c += WORKGROUP_SIZE) {
        var sum = Element();
        var product = Element();
        for (var row = first; row < last; row++) {
            let g = dy[row * columns + c];
            sum += g;
            product += g * ((x[row * columns + c] - mean[row]) * rstd[row]);
        }
        let at = 2u * (params.first + chunk) * columns + c;
        sums[at] = product;
        sums[at + columns] = sum;
    }
}
