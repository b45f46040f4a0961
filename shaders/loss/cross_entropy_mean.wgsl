// Averages the losses of the rows that count and adds up their hits; one workgroup, in blocks.
//   mean = Σ loss / min(count, rows),  correct = Σ hit
//! workgroup row
//! variant vec4
#import shared/row
#import shared/element

struct Params {
    rows: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> loss: array<Element>;      // [rows], 0 behind count
@group(0) @binding(2) var<storage, read> hit: array<Element>;       // [rows], 0 behind count
@group(0) @binding(3) var<storage, read> count: array<u32>;         // [1]
@group(0) @binding(4) var<storage, read_write> mean: array<f32>;    // [1]
@group(0) @binding(5) var<storage, read_write> correct: array<f32>; // [1]

override WORKGROUP_SIZE: u32 = 64u;
// Elements that a lane adds up before it adds them to its sum, which keeps the rounding error of long sums low.
const BLOCK: u32 = 32u;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(@builtin(local_invocation_index) lane: u32) {
    let rows = min(count[0], params.rows);
    let elements = (rows + LANES - 1u) / LANES;
    var sum = vec2<f32>(0.0);
    for (var first = lane; first < elements; first += BLOCK * WORKGROUP_SIZE) {
        let last = min(first + BLOCK * WORKGROUP_SIZE, elements);
        var losses = Element();
        var hits = Element();
        for (var i = first; i < last; i += WORKGROUP_SIZE) {
            let counts = columns_of(i) < Index(rows);
            losses += select(Element(), loss[i], counts);
            hits += select(Element(), hit[i], counts);
        }
        sum += vec2<f32>(total(losses), total(hits));
    }
    let all = row_sum(lane, sum);
    if lane == 0u {
        mean[0] = all.x / f32(max(rows, 1u));
        correct[0] = all.y;
    }
}
