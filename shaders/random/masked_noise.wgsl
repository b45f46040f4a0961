// Replaces masked frames by noise; one invocation takes 4 elements, WORKGROUP_SIZE apart.
//   y[b, t, f] = deviation·normal(philox(i, key)) where mask[t / stack] = 1, else x[b, t, f]; i the element's number
//! workgroup map; takes 4 an invocation
#import shared/grid
#import shared/rng
#import random/normal

struct Params {
    elements: u32,
    frames: u32,
    bands: u32,
    stack: u32,
    deviation: f32,
    stream: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;       // [batch, frames, bands]
@group(0) @binding(2) var<storage, read> mask: array<u32>;    // [frames / stack]
@group(0) @binding(3) var<storage, read> rng: array<u32>;     // [3]: seed, optimizer step, micro-batch
@group(0) @binding(4) var<storage, read_write> y: array<f32>; // [batch, frames, bands]

override WORKGROUP_SIZE: u32 = 64u;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let key = mix_key(vec4<u32>(rng[0], rng[1], rng[2], params.stream));
    for (var turn = 0u; turn < 4u; turn++) {
        let i = (linear_group(group, groups) * 4u + turn) * WORKGROUP_SIZE + lane;
        if i >= params.elements {
            return;
        }
        let frame = i / params.bands % params.frames;
        if mask[frame / params.stack] == 1u {
            y[i] = params.deviation * normal(philox(vec2<u32>(i, 0u), key));
        } else {
            y[i] = x[i];
        }
    }
}
