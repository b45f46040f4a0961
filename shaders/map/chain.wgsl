// Several operations on every element in one; one invocation takes TURNS groups of four neighbors, WORKGROUP_SIZE groups
// apart, so that it mixes its key once for all of them.
//   y = scale · mask(dropout(f(x))) + other, f an activation or nothing; or times the derivative at other
//! workgroup map
//! variant cpu: prefers cpu; takes 64 an invocation; TURNS = 16
//! variant gpu: takes 16 an invocation; TURNS = 4
#import shared/grid

struct Params {
    elements: u32,
    first: u32, // DROPOUT: the number of the first element in what is drawn as a whole, in vec4s
    threshold: u32,
    scale: f32,
    stream: u32,
    place: u32,    // of the other operand
    time: u32,     // frames of an utterance, where those behind its length are 0; else 0
    channels: u32, // elements of a frame
    start: u32,    // the number of the first element
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;       // [elements / 4]; in f16 too; may be y
@group(0) @binding(2) var<storage, read> rng: array<u32>;           // [3]: seed, optimizer step, micro-batch; read with DROPOUT only
@group(0) @binding(3) var<storage, read> lengths: array<u32>;       // [utterances]; read with params.time only
@group(0) @binding(4) var<storage, read> other: array<vec4<f32>>;   // [elements / 4]; read with BOUND_OTHER only; in f16 too
@group(0) @binding(5) var<storage, read_write> y: array<vec4<f32>>; // [elements / 4]; in f16 too

#import shared/epilogue

override WORKGROUP_SIZE: u32 = 64u;
override TURNS: u32 = 4u; // as the variant says: a CPU has few invocations at a time to keep busy

fn other_at(i: u32) -> vec4<f32> {
    if params.place == BOUND_OTHER {
        return other[i];
    }
    return y[i];
}

// Which of the elements e … e + 3 lie in frames before their utterance's length; those past the end are as the last.
fn in_utterances(e: u32) -> vec4<bool> {
    let last = params.elements - 1u;
    return vec4<bool>(
        is_in_utterance((params.start + e) / params.channels),
        is_in_utterance((params.start + min(e + 1u, last)) / params.channels),
        is_in_utterance((params.start + min(e + 2u, last)) / params.channels),
        is_in_utterance((params.start + min(e + 3u, last)) / params.channels),
    );
}

@compute @workgroup_size(WORKGROUP_SIZE)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    begin();
    for (var turn = 0u; turn < TURNS; turn++) {
        let i = (linear_group(group, groups) * TURNS + turn) * WORKGROUP_SIZE + lane;
        let left = i32(params.elements) - i32(i * 4u);
        if left <= 0 {
            return;
        }
        var is_kept = vec4<bool>(true);
        if DROPOUT {
            is_kept = kept(params.first + i, dropout_key, params.threshold);
        }
        if is_masked() {
            is_kept = select(vec4<bool>(), is_kept, in_utterances(4u * i));
        }
        let value = with_other(finished(x[i], is_kept), i);
        if left >= 4 {
            y[i] = value;
            continue;
        }
        for (var c = 0; c < left; c++) {
            y[i][c] = value[c];
        }
    }
}
