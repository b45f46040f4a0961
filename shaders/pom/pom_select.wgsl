// Gates the aggregate; one invocation takes its columns of a chunk of frames.
//   y = σ(z) ∘ h
// PER_FRAME: h has a row for every frame, otherwise one for every utterance.
//! workgroup map
//! variant vec4: needs columns % 4; takes 4 an invocation
//! variant scalar
#import shared/grid
#import shared/activation
#import shared/activation_derivative
#import pom/columns
#import pom/chunk

@group(0) @binding(1) var<storage, read> z: array<Columns>;       // [batches, time, columns]; in f16 too; may be y
@group(0) @binding(2) var<storage, read> h: array<Columns>;       // [batch, columns]; PER_FRAME: as z
@group(0) @binding(3) var<storage, read_write> y: array<Columns>; // [batches, time, columns]; in f16 too

override WORKGROUP_SIZE: u32 = 64u;
override PER_FRAME: bool = false;

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let columns = params.columns / LANES;
    let own = chunk_at(linear_group(group, groups) * WORKGROUP_SIZE + lane, columns);
    if own.batch >= params.batches {
        return;
    }
    let base = own.batch * params.time * columns + own.column;
    if PER_FRAME {
        for (var t = own.begin; t < own.end; t++) {
            let at = base + t * columns;
            y[at] = gate(z[at]) * h[at];
        }
        return;
    }
    let state = h[(params.first + own.batch) * columns + own.column];
    for (var t = own.begin; t < own.end; t++) {
        let at = base + t * columns;
        y[at] = gate(z[at]) * state;
    }
}
