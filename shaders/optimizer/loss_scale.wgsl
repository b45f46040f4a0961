// The scale of the loss after a step: half of it where a gradient was not finite, twice as much after `growth_interval`
// steps in a row whose gradients were; one invocation.
//   state ← (scale, finite steps since it changed)
//! workgroup 1

struct Params {
    growth_interval: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> state: array<f32>; // [2]
@group(0) @binding(2) var<storage, read> stats: array<f32>;       // [3] = (norm, scale, nonfinite) of the gradients

const SMALLEST: f32 = 1.0;
const LARGEST: f32 = 16777216.0;

@compute @workgroup_size(1)
fn main() {
    var scale = state[0];
    var finite = state[1] + 1.0;
    if stats[2] > 0.0 {
        scale = max(0.5 * scale, SMALLEST);
        finite = 0.0;
    } else if finite >= f32(params.growth_interval) {
        scale = min(2.0 * scale, LARGEST);
        finite = 0.0;
    }
    state[0] = scale;
    state[1] = finite;
}
