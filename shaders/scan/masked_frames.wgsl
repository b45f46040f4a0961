// What the gradient of the selective scan reads of a frame, side by side and 0 where it is padded, so that a
// padded frame adds nothing to any gradient; and the part of du that leaves the states out.
//   frames = (Δ, u, dy),  du = D dy
#import shared/grid

struct Params {
    elements: u32,
    first_row: u32,
    time: u32,
    channels: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> u: array<f32>;            // [batches, time, channels]
@group(0) @binding(2) var<storage, read> delta: array<f32>;        // [batches, time, channels]
@group(0) @binding(3) var<storage, read> dy: array<f32>;           // [batches, time, channels]
@group(0) @binding(4) var<storage, read> skip: array<f32>;         // [channels]: D
@group(0) @binding(5) var<storage, read> lengths: array<u32>;      // [batch]
@group(0) @binding(6) var<storage, read_write> frames: array<f32>; // [batches, time, 3, channels]
@group(0) @binding(7) var<storage, read_write> du: array<f32>;     // [batches, time, channels]

override WIDTH: u32 = 64u;

@compute @workgroup_size(WIDTH)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = linear_group(group, groups) * WIDTH + lane;
    if i >= params.elements {
        return;
    }
    let row = i / params.channels;
    let channel = i - row * params.channels;
    let batch = (params.first_row + row) / params.time;
    let valid = params.first_row + row - batch * params.time < lengths[batch];
    let slope = select(0.0, dy[i], valid);
    let at = row * 3u * params.channels + channel;
    frames[at] = select(0.0, delta[i], valid);
    frames[at + params.channels] = select(0.0, u[i], valid);
    frames[at + 2u * params.channels] = slope;
    du[i] = skip[channel] * slope;
}
