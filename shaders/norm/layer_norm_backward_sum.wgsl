// Second level of the sums of layer normalization's gradient; one workgroup a column, or four neighbors.
//   [dweight | dbias] = Σ over the chunks of sums
//! workgroup row
//! variant vec4: needs columns % 4; takes 4 a workgroup
//! variant scalar
#import shared/grid
#import shared/element

struct Params {
    chunks: u32,
    columns: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> sums: array<Element>;          // [chunks, 2, columns]
@group(0) @binding(2) var<storage, read_write> dweight: array<Element>; // [columns]
@group(0) @binding(3) var<storage, read_write> dbias: array<Element>;   // [columns]

override WORKGROUP_SIZE: u32 = 64u;

var<workgroup> parts: array<Element, WORKGROUP_SIZE>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let columns = params.columns / LANES;
    let column = linear_group(group, groups);
    if column >= 2u * columns {
        return;
    }
    var sum = Element();
    for (var chunk = lane; chunk < params.chunks; chunk += WORKGROUP_SIZE) {
        sum += sums[2u * chunk * columns + column];
    }
    parts[lane] = sum;
    workgroupBarrier();
    if lane > 0u {
        return;
    }
    for (var i = 1u; i < WORKGROUP_SIZE; i++) {
        sum += parts[i];
    }
    if column < columns {
        dweight[column] = sum;
    } else {
        dbias[column - columns] = sum;
    }
}
