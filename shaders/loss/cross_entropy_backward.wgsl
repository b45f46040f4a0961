// Gradient of the mean cross-entropy; one workgroup a row.
//   dlogits = (exp(logits − logsumexp) − onehot(target))·dloss / min(count, all)
//! workgroup row
//! variant vec4: needs columns % 4
//! variant scalar
#import shared/grid
#import shared/element

struct Params {
    rows: u32,
    columns: u32, // numbers in a row
    first: u32,   // number of the first row
    all: u32,     // rows of the whole tensor
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> logits: array<Element>;        // [rows, columns]; may be dlogits
@group(0) @binding(2) var<storage, read> targets: array<u32>;           // [rows]
@group(0) @binding(3) var<storage, read> count: array<u32>;             // [1]
@group(0) @binding(4) var<storage, read> logsumexp: array<f32>;         // [rows]
@group(0) @binding(5) var<storage, read> dloss: array<f32>;             // [1]
@group(0) @binding(6) var<storage, read_write> dlogits: array<Element>; // [rows, columns]

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
    let rows = min(count[0], params.all);
    let wanted = targets[row];
    if params.first + row >= rows || wanted >= params.columns {
        for (var c = lane; c < columns; c += WORKGROUP_SIZE) {
            dlogits[start + c] = Element();
        }
        return;
    }
    let scale = dloss[0] / f32(rows);
    let normalizer = logsumexp[row];
    for (var c = lane; c < columns; c += WORKGROUP_SIZE) {
        let hit = select(Element(), Element(1.0), columns_of(c) == Index(wanted));
        dlogits[start + c] = (exp(logits[start + c] - normalizer) - hit) * scale;
    }
}
