// Partial sums of squares; a workgroup takes a block of neighbors, its lanes interleaved.
//   parts[g, l] = Σ_j x[g, j, l]²
//! workgroup map; takes 1 a workgroup
#import shared/grid

struct Params {
    elements: u32,
    chunk: u32,
    parts: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;     // [elements / 4]
@group(0) @binding(2) var<storage, read_write> parts: array<f32>; // [parts]

override WORKGROUP_SIZE: u32 = 64u;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let block = linear_group(group, groups);
    let part = block * WORKGROUP_SIZE + lane;
    if part >= params.parts {
        return;
    }
    let whole = params.elements / 4u;
    let first = block * WORKGROUP_SIZE * params.chunk + lane;
    let last = min(first + WORKGROUP_SIZE * params.chunk, whole);
    var sums = vec4<f32>(0.0);
    var i = first;
    for (; i + 3u * WORKGROUP_SIZE < last; i += 4u * WORKGROUP_SIZE) {
        let a = x[i];
        let b = x[i + WORKGROUP_SIZE];
        let c = x[i + 2u * WORKGROUP_SIZE];
        let d = x[i + 3u * WORKGROUP_SIZE];
        sums += (a * a + b * b) + (c * c + d * d);
    }
    for (; i < last; i += WORKGROUP_SIZE) {
        sums += x[i] * x[i];
    }
    var total = (sums.x + sums.y) + (sums.z + sums.w);
    if part == 0u {
        for (var c = 0u; c < params.elements % 4u; c++) {
            total += x[whole][c] * x[whole][c];
        }
    }
    parts[part] = total;
}
