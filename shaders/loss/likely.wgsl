// The classes of every row with a log-probability of `least` or more, and its best one; one workgroup a row.
//   log = x − max x − ln Σ exp(x − max x),  in the order of the classes, behind them zeros
//! workgroup row
#import shared/grid
#import shared/row
#import shared/element
#import loss/row_best

struct Params {
    rows: u32,
    columns: u32,
    room: u32,  // classes of a row at the most
    least: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;             // [rows, columns]
@group(0) @binding(2) var<storage, read_write> counts: array<u32>;  // [rows]
@group(0) @binding(3) var<storage, read_write> ids: array<u32>;     // [rows, room]
@group(0) @binding(4) var<storage, read_write> logs: array<f32>;    // [rows, room]

override WORKGROUP_SIZE: u32 = 64u;

var<workgroup> kept: array<u32, WORKGROUP_SIZE>;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = linear_group(group, groups);
    if row >= params.rows {
        return;
    }
    let start = row * params.columns;
    var own = NEG_INF;
    var own_column = 0xffffffffu;
    for (var c = lane; c < params.columns; c += WORKGROUP_SIZE) {
        let value = x[start + c];
        let better = value > own;
        own = select(own, value, better);
        own_column = select(own_column, c, better);
    }
    let best = row_best(lane, own, own_column);
    var sum = 0.0;
    for (var c = lane; c < params.columns; c += WORKGROUP_SIZE) {
        sum += exp(x[start + c] - best.value);
    }
    let whole = log(row_sum(lane, vec2<f32>(sum, 0.0)).x);

    var count = 0u;
    let out = row * params.room;
    for (var first = 0u; first < params.columns; first += WORKGROUP_SIZE) {
        let c = first + lane;
        var value = NEG_INF;
        if c < params.columns {
            value = (x[start + c] - best.value) - whole;
        }
        let keep = (value >= params.least) | (c == best.column);
        workgroupBarrier();
        kept[lane] = select(0u, 1u, keep);
        workgroupBarrier();
        var place = count;
        for (var i = 0u; i < WORKGROUP_SIZE; i++) {
            place += select(0u, kept[i], i < lane);
            count += kept[i];
        }
        if keep & (place < params.room) {
            ids[out + place] = c;
            logs[out + place] = value;
        }
    }
    count = min(count, params.room);
    if lane == 0u {
        counts[row] = count;
    }
    for (var place = count + lane; place < params.room; place += WORKGROUP_SIZE) {
        ids[out + place] = 0u;
        logs[out + place] = 0.0;
    }
}
