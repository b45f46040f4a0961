// What happens to the elements of a result before they are stored: activation, dropout, scale, the mask of padded frames,
// and the other operand, which is added or is where a derivative is taken. The importer has `params` with scale, threshold,
// stream, time (0 where no frame is padded) and place, the bindings `rng` and `lengths`, and `other_at(i)`: the other operand
// at element i of the result, from the place that `params.place` says.
#import shared/activation
#import shared/activation_derivative
#import shared/rng
#import shared/dropout

override ACTIVATION: u32 = 0u; // values 0..=8: one more than the activation's code; 0: none
override DROPOUT: bool = false;
override DERIVATIVE: u32 = 0u; // values 0..=8: one more than the code of the activation whose derivative is a factor; 0: an addend

// Values of `params.place`, where the other operand is; none: 0.
const BOUND_OTHER: u32 = 1u;
const OTHER_IN_PLACE: u32 = 2u; // the result takes its place

var<private> dropout_key: u32;

// Mixes the key of dropout once an invocation.
fn begin() {
    if DROPOUT {
        dropout_key = mix_key(vec4<u32>(rng[0], rng[1], rng[2], params.stream));
    }
}

// Whether rows are frames, and those behind their utterance's length 0.
fn is_masked() -> bool {
    return params.time > 0u;
}

// Whether frame `row` of all utterances is before its utterance's length.
fn is_in_utterance(row: u32) -> bool {
    let utterance = row / params.time;
    return row - utterance * params.time < lengths[utterance];
}

fn finished(y: vec4<f32>, is_kept: vec4<bool>) -> vec4<f32> {
    var z = y;
    if ACTIVATION > 0u {
        z = activate(y, ACTIVATION - 1u);
    }
    if DROPOUT || is_masked() {
        z = select(vec4<f32>(), z, is_kept);
    }
    return params.scale * z;
}

// What is finished, with the other operand.
fn joined(y: vec4<f32>, other: vec4<f32>) -> vec4<f32> {
    if DERIVATIVE > 0u {
        return activation_derivative(other, DERIVATIVE - 1u) * y;
    }
    return y + other;
}

// The element at `i`, with the other operand if there is one; joined at one place, since the code of a derivative is long.
fn with_other(y: vec4<f32>, i: u32) -> vec4<f32> {
    if params.place == 0u {
        return y;
    }
    return joined(y, other_at(i));
}
