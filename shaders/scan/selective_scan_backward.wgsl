// Gradients of the selective scan; one workgroup takes `groups` times WIDTH channels of one chunk. With q the
// gradient of the states behind a frame, as the frames after it give it, and p the states before the frame:
//   g = q + dy_t C_t,  r = exp(Δ_t A) g∘p,  q ← exp(Δ_t A) g
//   du_t += Δ_t g·B_t,  dΔ_t = A·r + u_t g·B_t,  dB_t = Σ_c Δ_t u_t g,  dC_t = Σ_c dy_t h_t
//   dA_log = A Σ_t Δ_t r,  dD = Σ_t dy_t u_t, which take the place of the chunk's first q
// The states are walked once to keep every eighth, and from there eight by eight on the way back.
#import shared/grid
#import shared/scan
#import shared/scan_border

struct Params {
    first: u32,
    batches: u32,
    time: u32,
    channels: u32,
    chunks: u32,
    blocks: u32,
    groups: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> frames: array<f32>;        // [batches, time, 3, channels]: Δ, u, dy
@group(0) @binding(2) var<storage, read> a_log: array<vec4<f32>>;   // [channels, 4]
@group(0) @binding(3) var<storage, read> bc: array<vec4<f32>>;      // [batch, time, 2, 4]
@group(0) @binding(4) var<storage, read> border: array<f32>;        // [batch, chunks, 17, channels]
@group(0) @binding(5) var<storage, read_write> carry: array<f32>;   // [batch, chunks, 17, channels]
@group(0) @binding(6) var<storage, read_write> du: array<f32>;      // [batches, time, channels]
@group(0) @binding(7) var<storage, read_write> ddelta: array<f32>;  // [batches, time, channels]
@group(0) @binding(8) var<storage, read_write> partial: array<f32>; // [batch, time, blocks, 2, 16]

override WIDTH: u32 = 64u;

const RUN: u32 = 8u;
// One more than the 32 gradients of a frame, so that lanes that read a column do not share a bank.
const STRIDE: u32 = 33u;

var<workgroup> lanes: array<f32, STRIDE * WIDTH>;

// Δ, u and dy of the channel; 0 where there is no channel.
fn load_frame(t: u32, batch: u32, channel: u32, alive: bool) -> vec3<f32> {
    let at = (batch * params.time + t) * 3u * params.channels + channel;
    let values = vec3<f32>(frames[at], frames[at + params.channels], frames[at + 2u * params.channels]);
    return select(vec3<f32>(), values, alive);
}

fn load_carry(at: u32) -> vec4<f32> {
    let c = params.channels;
    return vec4<f32>(carry[at], carry[at + c], carry[at + 2u * c], carry[at + 3u * c]);
}

fn put_carry(at: u32, value: vec4<f32>) {
    carry[at] = value.x;
    carry[at + params.channels] = value.y;
    carry[at + 2u * params.channels] = value.z;
    carry[at + 3u * params.channels] = value.w;
}

fn share_four(at: u32, value: vec4<f32>) {
    lanes[at] = value.x;
    lanes[at + 1u] = value.y;
    lanes[at + 2u] = value.z;
    lanes[at + 3u] = value.w;
}

fn share(at: u32, value: mat4x4<f32>) {
    share_four(at, value[0]);
    share_four(at + 4u, value[1]);
    share_four(at + 8u, value[2]);
    share_four(at + 12u, value[3]);
}

@compute @workgroup_size(WIDTH)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let number = linear_group(group, groups);
    let chunk_number = number / params.blocks;
    let block = number - chunk_number * params.blocks;
    let batch = chunk_number / params.chunks;
    if batch >= params.batches {
        return;
    }
    let begin = (chunk_number - batch * params.chunks) * CHUNK;
    let count = min(CHUNK, params.time - begin);
    let runs = (count + RUN - 1u) / RUN;
    let first_row = (params.first + batch) * params.time;
    for (var part = 0u; part < params.groups; part++) {
        let start = (block * params.groups + part) * WIDTH;
        if start >= params.channels {
            break;
        }
        let alive = start + lane < params.channels;
        let channel = min(start + lane, params.channels - 1u);
        let at_border = (params.first * params.chunks + chunk_number) * BORDER * params.channels + channel;
        let rate = rates(channel);
        var h = load_border(at_border, params.channels);
        var kept: array<mat4x4<f32>, RUN>;
        for (var run = 0u; run < runs; run++) {
            kept[run] = h;
            if run + 1u < runs {
                for (var k = 0u; k < RUN; k++) {
                    let t = frame(begin, count, run * RUN + k);
                    let x = load_frame(t, batch, channel, alive);
                    h = times(decay(rate, x.x), h) + (x.x * x.y) * bc_row(first_row + t, 0u);
                }
            }
        }
        let four = 4u * params.channels;
        var q = mat4x4<f32>(
            load_carry(at_border), load_carry(at_border + four),
            load_carry(at_border + 2u * four), load_carry(at_border + 3u * four),
        );
        var drate = mat4x4<f32>();
        var dskip = 0.0;
        for (var back = 0u; back < runs; back++) {
            let run = runs - 1u - back;
            h = kept[run];
            var before: array<mat4x4<f32>, RUN>;
            for (var k = 0u; k < RUN; k++) {
                before[k] = h;
                if run * RUN + k < count {
                    let t = frame(begin, count, run * RUN + k);
                    let x = load_frame(t, batch, channel, alive);
                    h = times(decay(rate, x.x), h) + (x.x * x.y) * bc_row(first_row + t, 0u);
                }
            }
            for (var j = 0u; j < RUN; j++) {
                let k = RUN - 1u - j;
                if run * RUN + k < count {
                    let t = frame(begin, count, run * RUN + k);
                    let x = load_frame(t, batch, channel, alive);
                    let b = bc_row(first_row + t, 0u);
                    let a = decay(rate, x.x);
                    let faded = times(a, before[k]);
                    let g = q + x.z * bc_row(first_row + t, 1u);
                    let r = times(g, faded);
                    let along = inner(g, b);
                    drate += x.x * r;
                    dskip += x.z * x.y;
                    if alive {
                        let at = (batch * params.time + t) * params.channels + channel;
                        du[at] += x.x * along;
                        ddelta[at] = inner(rate, r) + x.y * along;
                    }
                    q = times(a, g);
                    workgroupBarrier();
                    share(lane * STRIDE, (x.x * x.y) * g);
                    share(lane * STRIDE + STATE, x.z * (faded + (x.x * x.y) * b));
                    workgroupBarrier();
                    let out = ((first_row + t) * params.blocks + block) * 2u * STATE;
                    for (var column = lane; column < 2u * STATE; column += WIDTH) {
                        var total = 0.0;
                        for (var other = 0u; other < WIDTH; other++) {
                            total += lanes[other * STRIDE + column];
                        }
                        if part > 0u {
                            total += partial[out + column];
                        }
                        partial[out + column] = total;
                    }
                }
            }
        }
        if alive {
            put_carry(at_border, rate[0] * drate[0]);
            put_carry(at_border + four, rate[1] * drate[1]);
            put_carry(at_border + 2u * four, rate[2] * drate[2]);
            put_carry(at_border + 3u * four, rate[3] * drate[3]);
            carry[at_border + STATE * params.channels] = dskip;
        }
    }
}
