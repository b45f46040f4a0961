// Gradients of the gated aggregate; one invocation takes its columns of a chunk of frames.
//   dz = σ(z)·(1 − σ(z)) ∘ h ∘ dy,  dh = σ(z) ∘ dy, summed over the chunk unless PER_FRAME
//! workgroup map
//! variant vec4: needs columns % 4; takes 4 an invocation
//! variant scalar
#import shared/grid
#import shared/activation
#import shared/activation_derivative
#import pom/columns
#import pom/chunk

@group(0) @binding(1) var<storage, read> z: array<Columns>;        // [batches, time, columns]; in f16 too
@group(0) @binding(2) var<storage, read> h: array<Columns>;        // [batch, columns]; PER_FRAME: as z
@group(0) @binding(3) var<storage, read> dy: array<Columns>;       // [batches, time, columns]; in f16 too; may be dz
@group(0) @binding(4) var<storage, read_write> dz: array<Columns>; // [batches, time, columns]; in f16 too
@group(0) @binding(5) var<storage, read_write> dh: array<Columns>; // [batch, chunks, columns]; PER_FRAME: as z

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
            let s = gate(z[at]);
            let product = s * dy[at];
            dz[at] = product * (1.0 - s) * h[at];
            dh[at] = product;
        }
        return;
    }
    let state = h[(params.first + own.batch) * columns + own.column];
    var total = Columns(0.0);
    for (var t = own.begin; t < own.end; t++) {
        let at = base + t * columns;
        let s = gate(z[at]);
        let product = s * dy[at];
        dz[at] = product * (1.0 - s) * state;
        total += product;
    }
    dh[((params.first + own.batch) * params.chunks + own.chunk) * columns + own.column] = total;
}
