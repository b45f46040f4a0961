// The classes of every row with a log-probability of `least` or more, and its best one; one workgroup a row.
//   log = x − max x − ln Σ exp(x − max x),  in the order of the classes, behind them zeros
#import shared/grid
#import shared/row
#import shared/element_scalar
#import shared/row_best

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

override WIDTH: u32 = 64u;

var<workgroup> kept: array<u32, WIDTH>;

@compute @workgroup_size(WIDTH)
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
    var own = LOWEST;
    var own_column = 0xffffffffu;
    for (var c = lane; c < params.columns; c += WIDTH) {
        let value = x[start + c];
        let better = value > own;
        own = select(own, value, better);
        own_column = select(own_column, c, better);
    }
    let best = row_best(lane, own, own_column);
    var sum = 0.0;
    for (var c = lane; c < params.columns; c += WIDTH) {
        sum += exp(x[start + c] - best.value);
    }
    let whole = log(row_sum(lane, vec2<f32>(sum, 0.0)).x);

    var count = 0u;
    let out = row * params.room;
    for (var first = 0u; first < params.columns; first += WIDTH) {
        let c = first + lane;
        var value = LOWEST;
        if c < params.columns {
            value = (x[start + c] - best.value) - whole;
        }
        let keep = (value >= params.least) | (c == best.column);
        workgroupBarrier();
        kept[lane] = select(0u, 1u, keep);
        workgroupBarrier();
        var place = count;
        for (var i = 0u; i < WIDTH; i++) {
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
    for (var place = count + lane; place < params.room; place += WIDTH) {
        ids[out + place] = 0u;
        logs[out + place] = 0.0;
    }
}
