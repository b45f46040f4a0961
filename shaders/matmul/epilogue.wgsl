// What happens to the elements of a matmul and its bias before they are stored: activation, dropout, scale, addend.
override ACTIVATION: u32 = 0u; // values 0..=8: one more than the activation's code; 0: none
override DROPOUT: bool = false;
override ADDEND: u32 = NO_ADDEND; // values 0..=2: as follows

const NO_ADDEND: u32 = 0u;
const BOUND_ADDEND: u32 = 1u;
const ADDEND_IN_C: u32 = 2u; // C takes the addend's place

var<private> dropout_key: u32;

// Mixes the key of dropout once an invocation.
fn begin() {
    if DROPOUT {
        dropout_key = mix_key(vec4<u32>(rng[0], rng[1], rng[2], params.stream));
    }
}

fn finished(y: vec4<f32>, is_kept: vec4<bool>) -> vec4<f32> {
    var z = y;
    if ACTIVATION > 0u {
        z = activate(y, ACTIVATION - 1u);
    }
    if DROPOUT {
        z = select(vec4<f32>(), z, is_kept);
    }
    return params.scale * z;
}
