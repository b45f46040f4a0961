// Gradient of layer normalization with respect to its rows; one workgroup a row.
//   dx = rstd·(g − mean(g) − x̂·mean(g ∘ x̂)),  g = dy ∘ weight,  x̂ = (x − mean)·rstd
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
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<Element>;        // [rows, columns]
@group(0) @binding(2) var<storage, read> weight: array<Element>;   // [columns]
@group(0) @binding(3) var<storage, read> mean: array<f32>;         // [rows]
@group(0) @binding(4) var<storage, read> rstd: array<f32>;         // [rows]
@group(0) @binding(5) var<storage, read> dy: array<Element>;       // [rows, columns]
@group(0) @binding(6) var<storage, read_write> dx: array<Element>; // [rows, columns]

override WORKGROUP_SIZE: u32 = 64u;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let columns = params.columns / LANES;
    let row = linear_group(group, groups);
    if row >= params.rows {
        return;
    }
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
        dx[start + c] = scale * (g - means.x - (x[start + c] - center) * projection);
    }
}
