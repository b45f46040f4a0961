// Drops elements at random; one invocation takes TURNS groups of four neighbors, WORKGROUP_SIZE groups
// apart, so that it mixes its key once for all of them.
//   y[i] = x[i]·scale where the 16-bit half i % 4 of philox(i / 4, key) < threshold, else 0;
//   key = mix(seed, step, micro-batch, stream)
//! workgroup map
//! variant cpu: prefers cpu; takes 64 an invocation; TURNS = 16
//! variant gpu: takes 16 an invocation; TURNS = 4
#import shared/grid
#import shared/rng
#import shared/dropout

struct Params {
    elements: u32,
    first: u32,
    threshold: u32,
    scale: f32,
    stream: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;       // [elements / 4] from element 4 · first; in f16 too; may be y
@group(0) @binding(2) var<storage, read> rng: array<u32>;           // [3]: seed, optimizer step, micro-batch
@group(0) @binding(3) var<storage, read_write> y: array<vec4<f32>>; // [elements / 4]; in f16 too

override WORKGROUP_SIZE: u32 = 64u;
override TURNS: u32 = 4u; // as the variant says: a CPU has few invocations at a time to keep busy

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let key = mix_key(vec4<u32>(rng[0], rng[1], rng[2], params.stream));
    for (var turn = 0u; turn < TURNS; turn++) {
        let i = (linear_group(group, groups) * TURNS + turn) * WORKGROUP_SIZE + lane;
        let left = i32(params.elements) - i32(i * 4u);
        if left <= 0 {
            return;
        }
        let value = select(vec4<f32>(), params.scale * x[i], kept(params.first + i, key, params.threshold));
        if left >= 4 {
            y[i] = value;
            continue;
        }
        for (var c = 0; c < left; c++) {
            y[i][c] = value[c];
        }
    }
}
