// Cross-entropy, hit and log-sum-exp of every row that counts, zeros for the others; one workgroup a row.
//   loss = log Σ exp(logits) − logits[target],  hit = (argmax logits = target)
//! workgroup row
//! variant vec4: needs columns % 4
//! variant scalar
#import shared/grid
#import shared/row
#import shared/element
#import loss/row_best

struct Params {
    rows: u32,
    columns: u32, // numbers in a row
    first: u32,   // number of the first row
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> logits: array<Element>;       // [rows, columns]
@group(0) @binding(2) var<storage, read> targets: array<u32>;          // [rows]
@group(0) @binding(3) var<storage, read> count: array<u32>;            // [1]
@group(0) @binding(4) var<storage, read_write> loss: array<f32>;       // [rows]
@group(0) @binding(5) var<storage, read_write> hit: array<f32>;        // [rows]
@group(0) @binding(6) var<storage, read_write> logsumexp: array<f32>;  // [rows]

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
    if params.first + row >= count[0] {
        if lane == 0u {
            loss[row] = 0.0;
            hit[row] = 0.0;
            logsumexp[row] = 0.0;
        }
        return;
    }
    let start = row * columns;
    var own = Element(NEG_INF);
    var own_columns = Index();
    for (var c = lane; c < columns; c += WORKGROUP_SIZE) {
        let value = logits[start + c];
        let better = value > own;
        own = select(own, value, better);
        own_columns = select(own_columns, columns_of(c), better);
    }
    let best = row_best(lane, own, own_columns);
    var sum = Element();
    for (var c = lane; c < columns; c += WORKGROUP_SIZE) {
        sum += exp(logits[start + c] - best.value);
    }
    let logarithm = log(row_sum(lane, vec2<f32>(total(sum), 0.0)).x);
    if lane != 0u {
        return;
    }
    logsumexp[row] = best.value + logarithm;
    let wanted = targets[row];
    if wanted >= params.columns {
        loss[row] = 0.0;
        hit[row] = 0.0;
        return;
    }
    let logit = part(logits[start + wanted / LANES], wanted % LANES);
    loss[row] = (best.value - logit) + logarithm;
    hit[row] = select(0.0, 1.0, best.column == wanted);
}
