// Gradients of the selective scan that are sums over channels; one invocation takes one state of `groups` blocks
// of 16 channels of one chunk, so that most of the sum is its own. With q as in the other gradients:
//   partial_C = Σ_c dy_t h_t,   partial_B = Σ_c Δ_t u_t g,  g = q + dy_t C_t,  q ← exp(Δ_t A) g
//! workgroup map
#import shared/grid
#import scan/chunks

struct Params {
    first: u32,
    batches: u32,
    time: u32,
    channels: u32,
    padded: u32,
    chunks: u32,
    blocks: u32,
    groups: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> frames: array<vec4<f32>>;  // [batches, time, 3, padded / 4]: Δ, u, dy
@group(0) @binding(2) var<storage, read> a_log: array<f32>;         // [channels, 16]
@group(0) @binding(3) var<storage, read> bc: array<f32>;            // [batch, time, 2, 16]
@group(0) @binding(4) var<storage, read> border: array<f32>;        // [batch, chunks, 17, channels]
@group(0) @binding(5) var<storage, read> carry: array<f32>;         // [batch, chunks, 17, channels]
@group(0) @binding(6) var<storage, read_write> partial: array<f32>; // [batch, time, blocks, 2, 16]

override WORKGROUP_SIZE: u32 = 64u;

// The last channel stands in for those beyond it, which have only zeros to be multiplied by.
fn clamped(channel: u32) -> vec4<u32> {
    return min(channel + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(params.channels - 1u));
}

fn rate_four(channel: u32, state: u32) -> vec4<f32> {
    let at = clamped(channel) * STATE + state;
    return -exp(vec4<f32>(a_log[at.x], a_log[at.y], a_log[at.z], a_log[at.w]));
}

fn border_four(row: u32, channel: u32) -> vec4<f32> {
    let at = row * params.channels + clamped(channel);
    return vec4<f32>(border[at.x], border[at.y], border[at.z], border[at.w]);
}

fn carry_four(row: u32, channel: u32) -> vec4<f32> {
    let at = row * params.channels + clamped(channel);
    return vec4<f32>(carry[at.x], carry[at.y], carry[at.z], carry[at.w]);
}

fn load_frames(at: u32) -> mat4x4<f32> {
    return mat4x4<f32>(frames[at], frames[at + 1u], frames[at + 2u], frames[at + 3u]);
}

fn add(at: u32, value: f32, started: bool) {
    var total = value;
    if started {
        total += partial[at];
    }
    partial[at] = total;
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = linear_group(group, groups) * WORKGROUP_SIZE + lane;
    let number = i / STATE;
    let n = i - number * STATE;
    let chunk_number = number / params.blocks;
    let block = number - chunk_number * params.blocks;
    let batch = chunk_number / params.chunks;
    if batch >= params.batches {
        return;
    }
    let begin = (chunk_number - batch * params.chunks) * CHUNK;
    let count = min(CHUNK, params.time - begin);
    let whole_row = (params.first + batch) * params.time;
    let row = (params.first * params.chunks + chunk_number) * BORDER + n;
    let quarter = params.padded / 4u;
    for (var part = 0u; part < params.groups; part++) {
        let c = (block * params.groups + part) * STATE;
        if c >= params.channels {
            break;
        }
        let rate = mat4x4<f32>(
            rate_four(c, n), rate_four(c + 4u, n), rate_four(c + 8u, n), rate_four(c + 12u, n),
        );
        let first = batch * params.time * 3u * quarter + c / 4u;
        var h = mat4x4<f32>(
            border_four(row, c), border_four(row, c + 4u), border_four(row, c + 8u), border_four(row, c + 12u),
        );
        for (var k = 0u; k < count; k++) {
            let t = frame(begin, count, k);
            let at = first + t * 3u * quarter;
            let delta = load_frames(at);
            let b = bc[(whole_row + t) * 2u * STATE + n];
            h = times(exp_each(times(delta, rate)), h) + b * times(delta, load_frames(at + quarter));
            let out = ((whole_row + t) * params.blocks + block) * 2u * STATE;
            add(out + STATE + n, inner(load_frames(at + 2u * quarter), h), part > 0u);
        }
        var q = mat4x4<f32>(
            carry_four(row, c), carry_four(row, c + 4u), carry_four(row, c + 8u), carry_four(row, c + 12u),
        );
        for (var k = 0u; k < count; k++) {
            let t = frame(begin, count, count - 1u - k);
            let at = first + t * 3u * quarter;
            let delta = load_frames(at);
            let g = q + bc[((whole_row + t) * 2u + 1u) * STATE + n] * load_frames(at + 2u * quarter);
            let out = ((whole_row + t) * params.blocks + block) * 2u * STATE;
            add(out + n, inner(times(delta, load_frames(at + quarter)), g), part > 0u);
            q = times(exp_each(times(delta, rate)), g);
        }
    }
}
