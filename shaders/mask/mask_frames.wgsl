// Clears the frames behind each utterance's length; one invocation an element.
//   y[b, t, c] = x[b, t, c] for t < lengths[b], else 0
//! workgroup map
#import shared/grid

struct Params {
    elements: u32,
    first_row: u32,
    time: u32,
    channels: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;       // [rows of batch · time from first_row, channels]; may be y
@group(0) @binding(2) var<storage, read> lengths: array<u32>; // [batch]
@group(0) @binding(3) var<storage, read_write> y: array<f32>; // [rows of batch · time from first_row, channels]

override WORKGROUP_SIZE: u32 = 64u;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = linear_group(group, groups) * WORKGROUP_SIZE + lane;
    if i >= params.elements {
        return;
    }
    let row = params.first_row + i / params.channels;
    let utterance = row / params.time;
    if row - utterance * params.time < lengths[utterance] {
        y[i] = x[i];
    } else {
        y[i] = 0.0;
    }
}
