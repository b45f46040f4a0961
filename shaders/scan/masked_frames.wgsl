// What the gradients of the selective scan read of the frames, side by side, in channels padded with 0 to whole
// blocks of 16. Padded frames are 0 too, so that they add nothing to any gradient.
//   frames = (Δ, u, dy)
//! workgroup map
#import shared/grid

struct Params {
    rows: u32,
    first_row: u32,
    time: u32,
    channels: u32,
    padded: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> u: array<f32>;            // [batches, time, channels]
@group(0) @binding(2) var<storage, read> delta: array<f32>;        // [batches, time, channels]
@group(0) @binding(3) var<storage, read> dy: array<f32>;           // [batches, time, channels]
@group(0) @binding(4) var<storage, read> lengths: array<u32>;      // [batch]
@group(0) @binding(5) var<storage, read_write> frames: array<f32>; // [batches, time, 3, padded]

override WORKGROUP_SIZE: u32 = 64u;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = linear_group(group, groups) * WORKGROUP_SIZE + lane;
    let row = i / params.padded;
    if row >= params.rows {
        return;
    }
    let channel = i - row * params.padded;
    let batch = (params.first_row + row) / params.time;
    let valid = params.first_row + row - batch * params.time < lengths[batch];
    var values = vec3<f32>(0.0);
    if valid && channel < params.channels {
        let at = row * params.channels + channel;
        values = vec3<f32>(delta[at], u[at], dy[at]);
    }
    let at = row * 3u * params.padded + channel;
    frames[at] = values.x;
    frames[at + params.padded] = values.y;
    frames[at + 2u * params.padded] = values.z;
}
