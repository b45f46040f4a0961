// Gradients of the selective scan that are sums over states; one invocation takes a channel of one chunk. With
// q the gradient of the states behind a frame that the later frames give, and p the states before the frame:
//   g = q + dy_t C_t,  r = exp(Δ_t A) g∘p,  q ← exp(Δ_t A) g
//   du_t = D dy_t + Δ_t g·B_t,  dΔ_t = A·r + u_t g·B_t
//   dA_log = A Σ_t Δ_t r,  dD = Σ_t dy_t u_t, which take the place of the chunk's first q
// A first walk keeps the states of every fourth frame; from there they are found four by four on the way back.
//! workgroup map
#import shared/grid
#import scan/chunks
#import scan/channel

struct Params {
    first: u32,
    batches: u32,
    time: u32,
    channels: u32,
    padded: u32,
    chunks: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> frames: array<f32>;       // [batches, time, 3, padded]: Δ, u, dy
@group(0) @binding(2) var<storage, read> a_log: array<vec4<f32>>;  // [channels, 4]
@group(0) @binding(3) var<storage, read> bc: array<vec4<f32>>;     // [batch, time, 2, 4]
@group(0) @binding(4) var<storage, read> skip: array<f32>;         // [channels]: D
@group(0) @binding(5) var<storage, read> border: array<f32>;       // [batch, chunks, 17, channels]
@group(0) @binding(6) var<storage, read_write> carry: array<f32>;  // [batch, chunks, 17, channels]
@group(0) @binding(7) var<storage, read_write> du: array<f32>;     // [batches, time, channels]
@group(0) @binding(8) var<storage, read_write> ddelta: array<f32>; // [batches, time, channels]

override WORKGROUP_SIZE: u32 = 64u;

const RUN: u32 = 4u;
const RUNS: u32 = 16u; // CHUNK / RUN

struct Walk {
    begin: u32,
    count: u32,
    row: u32,       // of the utterance in the tile
    whole_row: u32, // of the utterance in the batch
    channel: u32,
    rate: mat4x4<f32>,
    skip: f32,
}

struct Sums {
    q: mat4x4<f32>,
    drate: mat4x4<f32>,
    dskip: f32,
}

// Δ, u and dy at step k; 0 behind the last frame, which leaves everything as it is.
fn load_frame(walk: Walk, k: u32) -> vec3<f32> {
    if k >= walk.count {
        return vec3<f32>();
    }
    let at = (walk.row + frame(walk.begin, walk.count, k)) * 3u * params.padded + walk.channel;
    return vec3<f32>(frames[at], frames[at + params.padded], frames[at + 2u * params.padded]);
}

// B at step k, C with `part` 1.
fn load_bc(walk: Walk, k: u32, part: u32) -> mat4x4<f32> {
    return bc_row(walk.whole_row + frame(walk.begin, walk.count, min(k, walk.count - 1u)), part);
}

// One step back, from the frame's coefficients and what is left behind it of the states before it.
fn step_back(walk: Walk, k: u32, x: vec3<f32>, decay: mat4x4<f32>, left: mat4x4<f32>, sums: ptr<function, Sums>) {
    let g = (*sums).q + x.z * load_bc(walk, k, 1u);
    let r = times(g, left);
    let along = inner(g, load_bc(walk, k, 0u));
    (*sums).q = times(decay, g);
    (*sums).drate += x.x * r;
    (*sums).dskip += x.z * x.y;
    if k < walk.count {
        let at = (walk.row + frame(walk.begin, walk.count, k)) * params.channels + walk.channel;
        du[at] = walk.skip * x.z + x.x * along;
        ddelta[at] = inner(walk.rate, r) + x.y * along;
    }
}

fn carry_four(at: u32) -> vec4<f32> {
    let c = params.channels;
    return vec4<f32>(carry[at], carry[at + c], carry[at + 2u * c], carry[at + 3u * c]);
}

fn put_four(at: u32, value: vec4<f32>) {
    carry[at] = value.x;
    carry[at + params.channels] = value.y;
    carry[at + 2u * params.channels] = value.z;
    carry[at + 3u * params.channels] = value.w;
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = linear_group(group, groups) * WORKGROUP_SIZE + lane;
    let block = i / params.channels;
    if block >= params.batches * params.chunks {
        return;
    }
    let channel = i - block * params.channels;
    let batch = block / params.chunks;
    let begin = (block - batch * params.chunks) * CHUNK;
    var walk: Walk;
    walk.begin = begin;
    walk.count = min(CHUNK, params.time - begin);
    walk.row = batch * params.time;
    walk.whole_row = (params.first + batch) * params.time;
    walk.channel = channel;
    walk.rate = rates(channel);
    walk.skip = skip[channel];
    let at_border = (params.first * params.chunks + block) * BORDER * params.channels + channel;
    let four = 4u * params.channels;

    let runs = (walk.count + RUN - 1u) / RUN;
    var kept: array<mat4x4<f32>, RUNS>;
    var h = border_states(at_border, params.channels);
    kept[0] = h;
    for (var run = 1u; run < runs; run++) {
        for (var k = (run - 1u) * RUN; k < run * RUN; k++) {
            let x = load_frame(walk, k);
            h = times(exp_each(x.x * walk.rate), h) + (x.x * x.y) * load_bc(walk, k, 0u);
        }
        kept[run] = h;
    }

    var sums: Sums;
    sums.q = mat4x4<f32>(
        carry_four(at_border), carry_four(at_border + four),
        carry_four(at_border + 2u * four), carry_four(at_border + 3u * four),
    );
    sums.drate = mat4x4<f32>();
    sums.dskip = 0.0;
    for (var back = 0u; back < runs; back++) {
        let run = runs - 1u - back;
        let k = run * RUN;
        let x_0 = load_frame(walk, k);
        let x_1 = load_frame(walk, k + 1u);
        let x_2 = load_frame(walk, k + 2u);
        let x_3 = load_frame(walk, k + 3u);
        let decay_0 = exp_each(x_0.x * walk.rate);
        let decay_1 = exp_each(x_1.x * walk.rate);
        let decay_2 = exp_each(x_2.x * walk.rate);
        let decay_3 = exp_each(x_3.x * walk.rate);
        let left_0 = times(decay_0, kept[run]);
        let left_1 = times(decay_1, left_0 + (x_0.x * x_0.y) * load_bc(walk, k, 0u));
        let left_2 = times(decay_2, left_1 + (x_1.x * x_1.y) * load_bc(walk, k + 1u, 0u));
        let left_3 = times(decay_3, left_2 + (x_2.x * x_2.y) * load_bc(walk, k + 2u, 0u));
        step_back(walk, k + 3u, x_3, decay_3, left_3, &sums);
        step_back(walk, k + 2u, x_2, decay_2, left_2, &sums);
        step_back(walk, k + 1u, x_1, decay_1, left_1, &sums);
        step_back(walk, k, x_0, decay_0, left_0, &sums);
    }
    put_four(at_border, walk.rate[0] * sums.drate[0]);
    put_four(at_border + four, walk.rate[1] * sums.drate[1]);
    put_four(at_border + 2u * four, walk.rate[2] * sums.drate[2]);
    put_four(at_border + 3u * four, walk.rate[3] * sums.drate[3]);
    carry[at_border + STATE * params.channels] = sums.dskip;
}
